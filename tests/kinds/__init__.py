"""Every kind of credential, end to end: made, tested, refused, used, ended, against the practice provider."""
