"""Moving in and out: connections that other systems hold, taken over in batches; and this broker's own, exported.

* ``row`` – one connection on its way in.
* ``formats/`` – readers: CSV, JSON Lines, exports of other systems and of this one → rows.
"""
