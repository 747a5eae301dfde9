"""What the operator decided: environment → frozen ``Settings``.

::

    environment   load_settings: variables, .env and X_FILE -> Settings, or every fault at once
    model         Settings: what can be set, its types and defaults
    values        text -> value, for what is more than a word or a number
    store_address one server, sentinels or a Cluster, from the store's URL

Imports ``broker.errors`` and nothing else of the broker. A fault names its variable and never its value.
"""

from broker.settings.environment import load_settings, read_environment
from broker.settings.model import Settings
from broker.settings.values import Network, Retention

__all__ = ["Network", "Retention", "Settings", "load_settings", "read_environment"]
