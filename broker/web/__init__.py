"""The people's faces: connecting an account in a browser.

* ``connect`` – ``GET|POST /connect/{handle}``: shows what is asked (and changes nothing), then binds the browser.
* ``callback`` – ``GET /callback/{provider}``: takes the browser back from the provider.
* ``orderer`` – whether the app that asked is still registered; looked at anew before each of these steps.
* ``code`` – ``GET /connect/{session}/code``: the short code that a person carries back, with completion ``code``.
* ``pages`` – what they look like; ``templates/``, ``static/``.
* ``browser`` – the cookie that binds a browser, and telling our own forms from other sites'.

A person passes ``connect`` → the provider → ``callback`` → the app (or ``code``).
Must not import ``downstream`` or ``background``.
"""
