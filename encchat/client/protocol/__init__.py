"""A client's side of encchat/1, without a network: requests, answers, rooms, what is sent again. Pure."""
