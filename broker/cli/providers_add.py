"""``broker providers add``: an entry of the shipped file, copied into the operator's own; and what comes next."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from broker.cli.output import note
from broker.errors import ConfigurationError, Conflict, NotFound
from broker.providers import Provider
from broker.providers.copying import entry_of, names_in, with_entry
from broker.providers.faults import suggestion
from broker.providers.loader import load_text, read_text
from broker.providers.schema import NAME
from broker.providers.shipped import shipped_file
from broker.providers.written import as_written
from broker.settings import Settings, read_environment


def add_entry(settings: Settings, name: str, called: str) -> Sequence[Provider]:
    """Put the shipped entry ``name`` into the configured file as ``called``; answers what was added, that one last.

    What it extends comes along, under its own name, unless the file has an entry of that name already.

    :raises NotFound: no such entry is shipped.
    :raises Conflict: the file has an entry that is called so.
    :raises ConfigurationError: the file can't be read or written, or would have faults; it stays as it is.
    """
    shipped = read_text(shipped_file())
    written = as_written(shipped)
    if name not in written.entries:
        known = ", ".join(sorted(written.entries))
        raise NotFound(f"no entry {name!r} is shipped{suggestion(name, written.entries)}; there are {known}")
    if not NAME.fullmatch(called):
        raise Conflict("a name is a lower-case letter and up to 63 of a-z 0-9 _ -")
    path = Path(os.path.realpath(settings.providers_file))
    text = read_text(path) if _is_there(path) else ""
    present = set(names_in(text))
    if called in present:
        raise Conflict(f"{settings.providers_file} has an entry {called!r} already; --as gives this one another name")
    chain = [name]
    while (base := written.bases.get(chain[0])) and base not in present:
        chain.insert(0, base)
    if called in chain[:-1]:
        raise Conflict(f"{name!r} extends {called!r}, so it needs another name")
    names = [*chain[:-1], called]
    for each, under in zip(chain, names, strict=True):
        text = with_entry(text, entry_of(shipped, each).named(under))
    registry = load_text(text, settings.providers_file, read_environment())
    _replace(path, text)
    return [registry.get(each) for each in names]


def say_what_follows(added: Sequence[Provider], settings: Settings) -> None:
    """What was added, and what the operator does next."""
    *bases, provider = added
    print(f"added {provider.name} to {settings.providers_file}")
    for base in bases:
        print(f"added {base.name}, which it extends")
    if provider.ready:
        print("nothing has to be set for it")
    if provider.missing_variables:
        print(f"set in the environment or in .env: {', '.join(provider.missing_variables)}")
    if provider.connects_by == "redirect":
        print(f"register there as redirect URI: {provider.redirect_uri(settings.public_url)}")
    if provider.documentation:
        print(f"documentation: {provider.documentation}")
    note("A running broker knows it once it is restarted.")


def _replace(path: Path, text: str) -> None:
    """Put the whole file in place at once: whoever reads it meanwhile reads the one or the other.

    Mode, owner and group stay.

    :raises ConfigurationError: it can't be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                _dress(file.fileno(), path)
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _unusable(path, "written", error) from None


def _dress(descriptor: int, path: Path) -> None:
    """Give the new file what the one at ``path`` has."""
    if not path.exists():
        os.fchmod(descriptor, 0o644)
        return
    old = path.stat()
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        note(f"{path} may belong to another user or group now: only the superuser can keep its owner.")
    # After its owner: a change of that takes special bits away.
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, "read", error) from None


def _unusable(path: Path, how: str, error: OSError) -> ConfigurationError:
    return ConfigurationError([f"{path}: can't be {how}: {error.strerror} (BROKER_PROVIDERS_FILE says where it is)"])
