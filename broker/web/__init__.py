"""The people's faces: connecting an account in a browser.

* ``connect`` – ``GET|POST /connect/{handle}``: shows what is asked (and changes nothing), then binds the browser.
* ``form`` – on the same page, where a credential is handed in: takes it; ``form_pages`` – what that looks like.
* ``callback`` – ``GET /callback/{provider}``: takes the browser back from the provider.
* ``device`` – ``GET|POST /device``: takes the code that a machine shows, asks, and leaves for the provider.
* ``device_return`` – what the callback answers where a machine waits; ``device_login`` –
  ``GET|POST /device/logins/{handle}``: the person's own page about a machine that is logged in.
* ``orderer`` – whether the app that asked is still registered; looked at anew before each of these steps.
* ``completed`` – the end of completion ``browser``.
* ``code`` – ``GET /connect/{session}/code``: the short code that a person carries back, with completion ``code``.
* ``pages``, ``device_pages`` – what they look like; ``moments`` – times in words; ``templates/``, ``static/``.
* ``endings``, ``device_endings`` – errors as pages, and back to the app.
* ``browser`` – the cookie that binds a browser, and telling our own forms from other sites'.
* ``visitor`` – the cookie by which a browser's wrong codes are counted.

A person passes ``connect`` → the provider → ``callback`` → the app (or ``code``); with a machine's code
``device`` → the provider → ``callback``, and is done. Where a credential is handed in, ``form`` stands in the place of
provider and ``callback``.
Must not import ``downstream`` or ``background``.
"""
