"""The SDK's model of a label row by introspection: its classes, and what can be read of each."""

import importlib
import inspect
import re
from pathlib import Path

import encord.objects
from encord.objects import LabelRowV2, ObjectInstance
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.ontology_object_instance import AnswerForFrames

_ROOT = Path(encord.objects.__file__).parent
# Beside these classes, all that are defined in modules of events, answers, metadata and spaces.
_MODELS = (
    ObjectInstance,
    ObjectInstance.Annotation,
    ObjectInstance.ResolvedAnnotation,
    ClassificationInstance,
    ClassificationInstance.Annotation,
    LabelRowV2,
    LabelRowV2.FrameView,
    LabelRowV2.FrameViewMetadata,
    AnswerForFrames,
)
_MODULES = ("answers", "events", "metadata")
# Holders of data behind others, kinds of JSON (they say so), abstract classes, and those that only write.
_INTERNAL = re.compile(r"_\w+Data|_AnnotationMetadata|_LabelEventBase|\w+(Info|Data)|McapSpaceManager")
# Methods that change something, make something else of it, or check it.
_OTHER = re.compile(
    r"_|(set|put|add|remove|delete|copy|save|upsert|unset|check|uncheck|from|to|initialise|attach|update)(_|$)"
    r"|workflow_(reopen|complete)|parse_datetime|model_config|children_$"
)


def classes() -> dict[str, type]:
    """The concrete classes by the name that the documentation has for them."""
    found: dict[str, type] = {_name(each): each for each in _MODELS}
    spaces = (path.relative_to(_ROOT).with_suffix("") for path in sorted((_ROOT / "spaces").rglob("*.py")))
    for module in (*_MODULES, *(".".join(path.parts) for path in spaces)):
        for _, each in inspect.getmembers(
            importlib.import_module(f"encord.objects.{module}"), inspect.isclass
        ):
            if each.__module__ != f"encord.objects.{module}" or _INTERNAL.fullmatch(each.__name__):
                continue
            if not inspect.isabstract(each) and issubclass(each, object) and not issubclass(each, dict):
                found[_name(each)] = each
    return found


def properties(model: type) -> set[str]:
    """Names of what can be read of an instance: properties, fields, and methods that tell something."""
    found = set()
    for base in model.__mro__:
        if base.__module__.startswith("encord."):
            found |= {*vars(base), *inspect.get_annotations(base)}
    return {
        name for name in found if not _OTHER.match(name) and not inspect.isclass(getattr(model, name, None))
    }


def _name(model: type) -> str:
    # Two are called DataGroupMetadata.
    old = model.__module__ == "encord.objects.metadata" and model.__name__ == "DataGroupMetadata"
    return f"metadata.{model.__name__}" if old else model.__qualname__
