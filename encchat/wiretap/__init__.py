"""``--wire``: every frame on its way through the layers, and the bytes on the network that carry it.

``taps`` sits above and below any cipher and sees what passes, without the cipher's help; ``watch`` makes
messages and parts of it, ``seen`` is what there is to tell, ``words`` tells it to people; ``screen``,
``jsonfile`` and ``pcap`` are where it goes. Without ``--wire`` nothing of this is imported.

What is tapped are messages and network bytes: no key and no session secret passes here, and the one thing
that does and opens a door, the code that links a device, is blanked.
"""
