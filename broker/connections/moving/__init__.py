"""Moving in and out: connections that other systems hold, taken over in batches; and this broker's own, exported.

* ``row`` – one connection on its way in.
* ``lines``, ``json_items``, ``members`` – what somebody else's file holds: lines and objects, one by one, and what an
  object's members say, each read by its type; ``naming``: what of it may be told.
* ``exporting`` – every connection, whole (``whole``), into a file (``sealed_file``) for one key (``recipients``);
  ``switching_off``: so that one broker alone refreshes them, and ``undoing``: after all not; ``fitting``: whether what
  such a file holds fits here.
* ``engine`` – taking them in: ``imports`` (``order``: what is wanted) has a file looked through (``survey``, each row
  judged by ``judging``), the providers asked (``verifying``), all of it stored as nobody's (``storing``), and published
  (``publishing``). ``rollback`` takes it back; ``renewing`` refreshes it; ``lease``: one process at a time.
* ``formats/`` – readers: CSV, JSON Lines, exports of other systems and of this one → rows.
"""
