"""What is known of each provider: the schema and the loader of ``providers.yaml``.

A file becomes a ``Registry`` in this order::

    document      YAML -> a tree that remembers its lines
    variables     ${VAR} and ${VAR:-default} in its text values
    inheritance   extends: other
    validation    a tree -> Provider, by the schema
    loader        all of it for a file; every fault at once, with file, line and key
    registry      the result: providers by name

    schema        Provider: what an entry may say; sections: what stands one level down; fields: its types
    kinds         what each type of provider takes as a credential
      credential_entry      what an entry says of that
      credential_sections   ... one level down
      credential_templates  ... and with its own templates
    private_keys  keys in PEM that can be signed with
    json_schema   the same for editors
    written       the file line by line: what is marked as unverified
    copying       entries as text, from one file into another
    shipped       where the file is that comes with the broker
    programs      which variables may hold a token
    lint          what an operator should know about an entry that loads
    faults        what is wrong, and where

Everything that makes a provider differ is data here; nothing anywhere asks for a provider's name. Reads one
file, never the network: endpoints that an entry leaves out are discovered by ``upstream``. Imports
``broker.errors`` and nothing else of the broker.
"""

from broker.providers.json_schema import json_schema
from broker.providers.loader import load_providers
from broker.providers.registry import Registry
from broker.providers.schema import Provider, placeholders

__all__ = ["Provider", "Registry", "json_schema", "load_providers", "placeholders"]
