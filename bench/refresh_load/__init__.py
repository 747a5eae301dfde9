"""A simulation of the load of refreshes: tens of thousands of connections for hours and days, in a minute or two.

``python -m bench.refresh_load`` runs every scenario and renews the table in ``docs/scaling.md`` and
``docs/scaling-refreshes.svg``; with ``quick`` it runs them with a tenth of the connections and prints what it saw. The
same seed comes to the same on every machine.

What decides is the broker's own code (``background.refreshing``, its lanes, ``connections.turns`` and
``connections.schedule``); what is simulated is what surrounds it::

    virtual      an event loop whose time jumps to where something happens
    people       when connections are used
    fleet        the connections, their due times and tokens: in place of the store
    provider     its answers, its outage, and the turns at it
    simulation   all of these for one plan
    scenarios    the plans, and what of each is reported
    plot         the curves
    page         the table

Not simulated: what a refresh costs the process that does it, and what others ask of the same store.
"""
