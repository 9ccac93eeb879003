"""What Cython is told of the sources: it fits them, and leaves tracebacks right. Whether it works, the tests on the
compiled build say."""

import ast
import runpy
from pathlib import Path

import pytest

from compilation import names
from compilation.declarations import Declarations, Module

ROOT = Path(__file__).parent.parent
PATHS = {path.removesuffix(".py").replace("/", "."): ROOT / path for path in names.MODULES}


@pytest.fixture(scope="module")
def modules():
    return {name: Module(name, path.read_text()) for name, path in PATHS.items()}


@pytest.fixture(scope="module")
def declarations(modules):
    return Declarations(modules, names.TYPES, names.ATTRIBUTES, names.REPLACED)


def test_every_name_is_of_something_that_is_there(modules):
    places = {"pystack.tcp"} | set(modules)
    for module in modules.values():
        for class_name, function in module.functions():
            places.add(".".join(filter(None, (module.name, class_name, function.name))))
        places |= {f"{module.name}.{name}" for name in module.classes}
    assert set(names.TYPES) <= places
    kinds = [kind for typed in names.TYPES.values() for kind in typed.values()] + list(names.ATTRIBUTES.values())
    for kind in kinds:
        if type(kind) is tuple:
            assert kind[1] in modules[kind[0]].classes
    for module, name, _ in names.ATTRIBUTES:
        assert name in modules[module].classes


@pytest.mark.parametrize("name", PATHS)
def test_a_source_keeps_its_lines(name, modules, declarations):
    """Only blank ones are used, and what is there says the same to Python, the types aside."""
    before, after = modules[name].text.split("\n"), declarations.source(name).split("\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old == new or (not old and new.lstrip().startswith(("import cython", "@cython.locals(")))
    tree = ast.parse("\n".join(after))
    tree.body = [each for each in tree.body if not isinstance(each, ast.Import) or each.names[0].name != "cython"]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [each for each in node.decorator_list if "cython.locals" not in ast.unparse(each)]
    assert ast.dump(tree) == ast.dump(modules[name].tree)


def declared(text, **more):
    """The ``.pxd`` of a module *text*."""
    module = Module("one", text)
    return Declarations({"one": module}, more.get("types", {}), {}, more.get("replaced", ())).declarations("one")


CLASS = """
class Part:
    __slots__ = ("size",)

    def grow(self, by=1):
        self.size += by

class Whole:
    def __init__(self, other):
        self.part = Part()
        self.other = other
        self.last = None

    def work(self, *things):
        return sum(thing for thing in things)

    def tell(self, whole):
        whole.part.grow()
        return self.told

    def told(self):
        pass
"""


def test_attributes_are_fields_with_the_type_that_they_are_made_of():
    text = declared(CLASS, types={"one": {"whole": ("one", "Whole")}})
    assert "cdef class Part():\n    cdef public object size\n    cpdef grow(self, by=*)\n" in text
    assert "    cdef public Part part\n    cdef public object other\n    cdef public object last\n" in text
    assert "    cpdef tell(self, Whole whole)\n" in text


def test_what_is_no_plain_call_stays_an_object():
    """Stars, closures, and functions that are passed on, or that tests replace."""
    text = declared(CLASS, replaced=("grow",))
    assert "work" not in text and "told" not in text and "grow" not in text


def test_a_method_is_direct_in_a_whole_family_or_not_at_all():
    text = declared(CLASS + "\nclass More(Whole):\n    def tell(self, whole):\n        return super().tell(whole)\n")
    assert "cdef class More(Whole):\n    pass\n" in text and "cpdef tell" not in text


def test_a_decorated_class_stays_pythons():
    assert declared("@dataclass\nclass One:\n    def work(self):\n        pass\n").strip() == ""


@pytest.mark.parametrize("value", [None, "", "0"])
def test_who_does_not_ask_for_extension_modules_gets_none(value, monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    made = []
    monkeypatch.setattr(setuptools, "setup", lambda **how: made.append(how))
    monkeypatch.delenv("PYSTACK_COMPILE", raising=False)
    if value is not None:
        monkeypatch.setenv("PYSTACK_COMPILE", value)
    runpy.run_path(str(ROOT / "setup.py"))
    assert made == [{}]
