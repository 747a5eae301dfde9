"""``broker demo``: the whole story on one machine, with real processes and real requests.

======================== =====================================================================
``command``              ``run``: the two ways to see it, and how it ends
``stage``                ports, ``providers.yaml``, processes, registered clients; all gone at the end
``processes``            starting programs, seeing that they live, ending them
``story``                the ten steps, each with what must hold
``scene``                what the steps have at hand, and how a claim is checked
``person``               a person with a browser, who presses the buttons when nobody else does
``services``             the two clients of the broker: the app's backend and its worker
``app``                  "Acme Inbox", the app that a person sees; a process of its own
``pages``                how that app's pages are made
``exchange``             one request and its answer, secrets shortened before anybody sees it
``strongroom``           what the embedded store holds, looked at from outside
``narration``            what all this looks like in a terminal
======================== =====================================================================

``services`` and ``app`` do what any program would: they speak HTTP and import nothing of the broker. ``stage``
imports what commands of the embedded store need. Nothing imports this package but the command line.
"""
