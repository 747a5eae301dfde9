"""What a person or a script types: ``broker …``. Workers never import it.

* ``main`` – the console script, which loads the rest.
* ``application`` – which module holds which command, errors → lines on stderr and exit codes.
* ``session`` – settings, providers and the store for the length of one command.
* ``output`` – tables for people, JSON for programs; ``faults`` – what is said when it goes wrong.
* ``serve``, ``clients``, ``connections``, ``devices``, ``providers``, ``keys``, ``events``, ``config`` – a command or a
  group each; ``parameters`` and ``proofs`` – options that several take; ``progress`` – how far a long one is;
  ``signals`` – ending it in good order.
* ``changing`` – connections made of a credential, and changed; ``handing_in`` – how the credential gets in;
  ``one_connection`` – finding and showing one.
* ``importing`` – many at once: ``import_file`` is what is read, ``import_report`` what is said, ``import_ids`` which
  row became which connection; ``exporting`` – and out again, into a ``private_file``; ``export_undo`` – on second
  thoughts.
* ``providers_check``, ``providers_add`` – judging entries, and copying those that are shipped.
* ``greeting`` – what ``serve`` says once it listens: ready, or why not yet.
* ``doctor`` – says what is wrong with a set-up; ``diagnosis`` – its checks.
* ``connect`` – the browser flow from a terminal: ``loopback`` is where the browser returns to, ``remote`` the broker
  over HTTP, ``registration`` the clients that commands make for themselves.
* ``login`` – a machine with no screen: ``device_grant`` asks and polls, ``invitation`` is what its person sees.
  ``token``, ``exec``, ``git_credential``, ``whoami``, ``logout`` – what it does then; ``target`` says whose token is
  meant, ``machine`` keeps a login's tokens fresh, ``credentials`` and ``os_keyring`` keep them at all; ``headless`` is
  what these commands share. None of them loads the broker's own rooms, unless it runs on the broker's machine.
* ``demo/`` – the story, narrated.

A command reads settings, calls one room below and prints; whatever decides something stands in that room.
"""
