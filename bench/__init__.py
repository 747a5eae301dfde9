"""Measurements. Nothing here asserts how fast something is: it says what it saw, on which machine.

``python -m bench`` (or ``make bench``) starts everything itself on loopback, takes ten minutes, and renews the figures
in ``bench/results.json``, ``docs/performance.md`` and ``docs/performance.svg``. An interrupted run, a failed one and a
quick one renew nothing. ``python -m bench --help`` says what else can be asked for.

What is measured, each in a file of its own: see :mod:`bench.scenarios`.

With what
    ``wrk``, ``requests.lua``   loads a server, and fails where an answer was no success
    ``floor``                   what a broker is compared with: the same server and store without one
    ``rounds``                  sides in turn, several rounds, medians and ratios
    ``processes``               CPU, memory, the store's commands
    ``world``, ``stage``        a broker, a practice provider, a floor, as real processes
    ``calls``                   clients, tokens and connections to begin with

How it is reported
    ``results``                 what was seen, when and where
    ``targets``                 whether that is what was wanted
    ``document``, ``plot``      the tables of the page, and its picture
"""
