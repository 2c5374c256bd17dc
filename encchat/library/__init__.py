"""encchat for programs: bots, bridges, scripts. docs/library.md shows how, from ``encchat.client`` on.

``client`` is the conversation, ``room`` one room of it, ``heard`` an entry. ``opening`` puts together what
every client needs, also the one for people (``encchat.cli``). Nothing is imported from here, so that
whoever needs the one does not wait for the others.
"""
