"""Ciphers: what protects a connection. Each is a plugin, a thin layer and a pure transform.

``interfaces`` says what a cipher is, ``layer`` is the hardened base that every one is built on,
``registry`` finds the plugins, ``testing`` is the contract suite that each of them passes.
"""
