"""What Cython is told of the sources: it fits them, and leaves tracebacks right. Whether it works, the tests on the
compiled build say."""

import ast
import importlib
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
        assert bool(old.strip()) == bool(new.strip()) or new.lstrip().startswith(("import cython", "@cython.locals("))
    tree = ast.parse("\n".join(after))
    tree.body = [each for each in tree.body if not isinstance(each, ast.Import) or each.names[0].name != "cython"]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [each for each in node.decorator_list if "cython.locals" not in ast.unparse(each)]
    assert ast.dump(tree) == ast.dump(Numbers(modules[name], modules).visit(ast.parse(modules[name].text)))


class Numbers(ast.NodeTransformer):
    """Puts the value of each constant, as the imported module has it, into a tree."""

    def __init__(self, module, modules):
        self._module = module
        self._modules = modules

    def visit_JoinedStr(self, node):
        return node

    def visit_Name(self, node):
        return self._number(node, *self._module.imports.get(node.id, (self._module.name, node.id)))

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.value.id in self._module.imports:
            return self._number(node, ".".join(self._module.imports[node.value.id]), node.attr)
        return self.generic_visit(node)

    def _number(self, node, owner, name):
        if isinstance(node.ctx, ast.Load) and owner in self._modules and name in self._modules[owner].constants:
            return ast.Constant(getattr(importlib.import_module(owner), name))
        return node


@pytest.mark.parametrize("name", PATHS)
def test_a_constant_is_what_it_is_when_the_module_runs(name, modules):
    module = importlib.import_module(name)
    assert {each: getattr(module, each) for each in modules[name].constants} == modules[name].constants


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


def test_what_only_has_the_name_of_a_method_does_not_make_that_an_object():
    """Neither a variable, nor a field of another class."""
    text = declared(CLASS + "\ndef use(grow, part):\n    return grow, part.size\n\nclass Other:\n    grow = 1\n")
    assert "    cpdef grow(self, by=*)\n" in text
    text = declared(CLASS + "\ndef use(part):\n    return part.grow\n")
    assert "grow" not in text


def two(first, second, name="two"):
    """``(source, .pxd)`` of one of two modules, "one" and "two"."""
    modules = {"one": Module("one", first), "two": Module("two", second)}
    made = Declarations(modules, {}, {}, ())
    return made.source(name), made.declarations(name)


def test_functions_of_other_modules_are_called_directly():
    first = "def plain(a):\n    pass\n\ndef starred(*a):\n    pass\n\ndef passed(a):\n    pass\n"
    _, text = two(first, "from one import passed, plain as other, starred\n\nhere = passed\n")
    assert "from one cimport plain as other\n" in text and "starred" not in text and "passed" not in text


def test_constants_are_numbers():
    first = "ONE = 1\nTWO = ONE << 1\nRED, BLUE = range(2)\nTEXT = 'x'\nON = True\nlower = 3\n"
    second = (
        '"""."""\nfrom one import BLUE, ON, TEXT, TWO, lower\n\nOWN = 5\na = TWO.real, BLUE, f"{TWO}", TEXT, ON, OWN\n'
    )
    source, _ = two(first, second)
    assert source.split("\n")[4] == 'a = (2).real, (1), f"{TWO}", TEXT, ON, (5)'


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
