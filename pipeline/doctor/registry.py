"""What the doctor asks of a schema registry. Nothing is registered."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.settings import Settings
from pipeline.wire.own_schemas import record_names, schemas_folder
from pipeline.wire.schema_ids import RegistrySchemas, RegistryUnavailableError, SchemaRefusedError, open_schemas


def examine_registry(settings: Settings) -> Iterator[Finding]:
    """Whether the registry answers, and takes what this version writes."""
    schemas = open_schemas(
        settings.registry, settings.registry_username, settings.registry_password, settings.registry_ca_file
    )
    records = record_names(schemas_folder())
    if not isinstance(schemas, RegistrySchemas):
        text = f"No registry is set: the {len(records)} schemas that come with crosscredit are used."
        yield ok("registry", text)
        return
    new, refused = [], []
    try:
        for record in records:
            try:
                if not schemas.is_registered(record):
                    new.append(record)
            except SchemaRefusedError as error:
                refused.append(str(error))
    except RegistryUnavailableError as error:
        what, _, remedy = str(error).rpartition(". ")
        yield wrong("registry", f"{what[:1].upper()}{what[1:]}.", f"{remedy}.")
        return
    remedy = "See which schema stands there; delete the subject if it is not ours, or upgrade crosscredit."
    yield from (wrong("registry", f"{text[:1].upper()}{text[1:]}.", remedy) for text in refused)
    if new and not refused:
        text = f"{len(new)} of {len(records)} schemas are not registered yet: {', '.join(new)}."
        yield note("registry", text, "Whoever writes such a record first registers it.")
    elif not refused:
        yield ok("registry", f"The registry answers, and knows all {len(records)} schemas.")
