"""What Cython has to know of a source beyond its text: a ``.pxd`` file, and a decorator for typed variables.

A class becomes an extension type if no decorator makes it and its base, if any, is one. Its attributes, those of
``__slots__`` or else all that its methods assign to ``self``, become fields, and its methods direct calls, as do
functions, also those of other modules. A field that is only ever made by calling such a class, or of a parameter with a
type, has that type. Constants that are ints are written as the numbers that they stand for.
"""

import ast
from collections import defaultdict
from functools import cache


class Module:
    """One source file: what it imports by name, and its classes."""

    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.tree = ast.parse(text)
        self.imports = {}  # name here -> (module, name there)
        self.classes = {}
        self.constants = _constants(self.tree)
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node

    def origin(self, name):
        """``(module, name there)`` of a name used here; this module if it is not imported by itself."""
        return self.imports.get(name, (self.name, name))

    def functions(self):
        """``(name of the class or None, node)`` of all but nested ones."""
        yield from ((None, node) for node in _functions(self.tree))
        for name, node in self.classes.items():
            yield from ((name, each) for each in _functions(node))


class Declarations:
    """Of all modules that are compiled together, ``{name: Module}``; the rest is from `names`."""

    def __init__(self, modules, types, attributes, replaced):
        self._modules = modules
        self._types = types
        self._known_attributes = attributes
        self._classes = {}  # (module, class) -> its node, of those that become extension types
        self._find_classes()
        self._indirect = defaultdict(set)  # root of a hierarchy -> names of methods that cannot be called directly
        # Functions that are used otherwise than by calling them plainly: (module or root of a hierarchy, name); and
        # names of such methods, of which it is not known whose they are.
        self._objects = {(name, each) for name in modules for each in replaced} | set(replaced)
        for module in modules.values():
            self._note_objects(module)
        for module in modules.values():
            for name, function in module.functions():
                if (module.name, name) in self._classes:
                    root = self._root((module.name, name))
                    if not self._is_direct(root, function):
                        self._indirect[root].add(function.name)

    def source(self, name):
        """The module's text with numbers in the place of the constants that stand for them, and a decorator on each
        function that has typed variables, on the blank line before it, so that tracebacks stay right."""
        module = self._modules[name]
        lines = module.text.split("\n")
        for node, value in reversed(self._constants_read(module)):
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = f"{line[: node.col_offset]}({value}){line[node.end_col_offset :]}"
        found = False
        for class_name, function in module.functions():
            kinds = self._variables(module, class_name, function)
            if kinds and not function.decorator_list and not lines[function.lineno - 2].strip():
                found = True
                typed = ", ".join(f"{variable}={_written(kind)}" for variable, kind in sorted(kinds.items()))
                lines[function.lineno - 2] = " " * function.col_offset + f"@cython.locals({typed})"
        if found:
            lines[module.tree.body[0].end_lineno] = "import cython"  # behind the docstring
        return "\n".join(lines)

    def declarations(self, name):
        """The text of the module's ``.pxd``."""
        module = self._modules[name]
        cimports, lines = {}, []
        for class_name, node in module.classes.items():
            if (name, class_name) in self._classes:
                lines += self._class(module, node, cimports)
        for function in _functions(module.tree):
            if self._is_direct(name, function):
                lines.append(f"\ncpdef {function.name}({self._arguments(module, None, function, cimports)})")
        for class_name, function in module.functions():
            for kind in self._variables(module, class_name, function).values():
                if type(kind) is tuple:
                    self._named(kind, module, cimports)
        head = [f"from {origin[0]} cimport {origin[1]}" for here, origin in sorted(cimports.items())]
        for here, origin in module.imports.items():
            if ".".join(origin) in self._modules:
                # Not "from package cimport module", which Cython overlooks when it asks what is to be made anew.
                head.append(f"cimport {'.'.join(origin)} as {here}")
            elif self._is_direct_import(*origin):
                head.append(f"from {origin[0]} cimport {origin[1]} as {here}")
        return "\n".join([*head, *lines]) + "\n"

    def _constants_read(self, module):
        """``[(node, number), ...]`` in the order of the text: where a constant of a module is read, this one or another
        of them."""
        found = []
        skipped = {
            id(inner) for node in ast.walk(module.tree) if isinstance(node, ast.JoinedStr) for inner in ast.walk(node)
        }
        for node in ast.walk(module.tree):
            if id(node) in skipped or not isinstance(getattr(node, "ctx", None), ast.Load):
                continue
            if isinstance(node, ast.Name):
                owner, name = module.origin(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, name = ".".join(module.imports.get(node.value.id, ())), node.attr
            else:
                continue
            value = self._modules[owner].constants.get(name) if owner in self._modules else None
            if value is not None:
                found.append((node, value))
        return sorted(found, key=lambda each: (each[0].lineno, each[0].col_offset))

    def _is_direct_import(self, name, function):
        """Whether *function* of the module *name* is one that can be called directly."""
        module = self._modules.get(name)
        return module is not None and any(
            each.name == function and self._is_direct(name, each) for each in _functions(module.tree)
        )

    # -- classes ------------------------------------------------------------------------------------------------------

    def _find_classes(self):
        before = -1
        while before != len(self._classes):
            before = len(self._classes)
            for module in self._modules.values():
                for name, node in module.classes.items():
                    bases = [module.origin(base.id) if isinstance(base, ast.Name) else None for base in node.bases]
                    if not node.decorator_list and len(bases) < 2 and all(base in self._classes for base in bases):
                        self._classes[module.name, name] = node

    def _base(self, origin):
        bases = self._classes[origin].bases
        return self._modules[origin[0]].origin(bases[0].id) if bases else None

    def _root(self, origin):
        while (base := self._base(origin)) is not None:
            origin = base
        return origin

    def _class(self, module, node, cimports):
        origin = module.name, node.name
        base = self._base(origin)
        lines = [f"\ncdef class {node.name}({self._named(base, module, cimports) if base else ''}):"]
        inherited = set()
        while base is not None:
            inherited |= set(self._attributes(base))
            base = self._base(base)
        for name, kind in self._attributes(origin).items():
            if name == "__weakref__":
                lines.append("    cdef object __weakref__")
            elif name not in inherited:
                lines.append(f"    cdef public {self._named(kind, module, cimports) if kind else 'object'} {name}")
        indirect = self._indirect[self._root(origin)]
        for method in _functions(node):
            if method.name not in indirect and not method.name.startswith("__"):
                lines.append(f"    cpdef {method.name}({self._arguments(module, node.name, method, cimports)})")
        return lines if len(lines) > 1 else [*lines, "    pass"]

    def _named(self, origin, module, cimports):
        if origin[0] != module.name:
            cimports[origin[1]] = origin
        return origin[1]

    @cache  # noqa: B019 there is one of these in a build
    def _attributes(self, origin):
        """``{name: (module, class) or None}``."""
        module, node = self._modules[origin[0]], self._classes[origin]
        assigned = defaultdict(list)
        for method in _functions(node):
            kinds = self._variables(module, node.name, method)
            for target, value in _assignments(method):
                if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                    assigned[target.attr].append(_kind(value, module, kinds))
        names = assigned
        for statement in node.body:
            if isinstance(statement, ast.Assign) and statement.targets[0].id == "__slots__":
                names = ast.literal_eval(statement.value)
        found = {}
        for name in names:
            kinds = {kind for kind in assigned[name] if kind != _NONE}
            kind = kinds.pop() if len(kinds) == 1 else None
            kind = self._known_attributes.get((*origin, name), kind)
            found[name] = kind if kind in self._classes else None
        return found

    # -- functions ----------------------------------------------------------------------------------------------------

    def _note_objects(self, module):
        """Functions that are passed on, or are called with keywords or a star: these have to be objects."""
        for class_name, function in module.functions():
            kinds = {**self._variables(module, class_name, function), "self": (module.name, class_name)}
            self._note_objects_in(function, module, kinds, _bound(function))
        for node in [module.tree, *module.classes.values()]:
            for statement in node.body:
                if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                    self._note_objects_in(statement, module, {}, set())

    def _note_objects_in(self, tree, module, kinds, local):
        plainly_called = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if not node.keywords and not any(isinstance(each, ast.Starred) for each in node.args):
                    plainly_called.add(id(node.func))
            elif isinstance(getattr(node, "ctx", None), ast.Load) and id(node) not in plainly_called:
                if isinstance(node, ast.Name) and node.id not in local:
                    self._objects.add(module.origin(node.id))
                elif isinstance(node, ast.Attribute):
                    owner = self._owner(node, module, kinds, local)
                    if owner != _NOBODY:
                        self._objects.add(node.attr if owner is None else (owner, node.attr))

    def _owner(self, node, module, kinds, local):
        """Whose an attribute is, if it is a function: a module, or the root of a hierarchy of classes; None if that is
        not known, `_NOBODY` if it is none."""
        value = node.value
        if isinstance(value, ast.Name) and value.id not in local and value.id in module.imports:
            name = ".".join(module.imports[value.id])
            if name in self._modules:
                return name
        kind = self._kind_of(value, kinds)
        if kind is None:
            return None
        while kind is not None:
            if any(method.name == node.attr for method in _functions(self._classes[kind])):
                return self._root(kind)
            kind = self._base(kind)
        return _NOBODY

    def _kind_of(self, node, kinds):
        """The class of what an expression of names and attributes holds, if that is declared."""
        if isinstance(node, ast.Name):
            kind = kinds.get(node.id)
        elif isinstance(node, ast.Attribute):
            kind = self._kind_of(node.value, kinds)
            while kind is not None and node.attr not in self._attributes(kind):
                kind = self._base(kind)
            kind = kind and self._attributes(kind)[node.attr]
        else:
            return None
        return kind if kind in self._classes else None

    def _is_direct(self, owner, function):
        arguments = function.args
        if function.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            return False
        if function.name.startswith("__") or (owner, function.name) in self._objects:
            return False
        if owner not in self._modules and function.name in self._objects:
            return False
        closures = (ast.FunctionDef, ast.Lambda, ast.GeneratorExp, ast.Yield, ast.YieldFrom)
        return not any(
            (each is not function and isinstance(each, closures)) or getattr(each, "id", "") == "super"
            for each in ast.walk(function)
        )

    def _arguments(self, module, class_name, function, cimports):
        arguments = function.args.args
        kinds = self._variables(module, class_name, function)
        required = len(arguments) - len(function.args.defaults)
        texts = []
        for index, argument in enumerate(arguments):
            kind = kinds.get(argument.arg)
            if kind:
                kind = self._named(kind, module, cimports) if type(kind) is tuple else kind
            name = f"{kind} {argument.arg}" if kind else argument.arg
            texts.append(name if index < required else f"{name}=*")
        return ", ".join(texts)

    def _variables(self, module, class_name, function):
        """``{name: (module, class)}`` of the function's parameters and variables that have a type."""
        path = [module.name, *([class_name] if class_name else []), function.name]
        kinds = {}
        parts = ".".join(path).split(".")
        for end in range(1, len(parts) + 1):
            kinds.update(self._types.get(".".join(parts[:end]), {}))
        bound = _bound(function)
        return {
            name: kind for name, kind in kinds.items() if name in bound and (kind in self._classes or type(kind) is str)
        }


_NONE = "None"
_NOBODY = "nobody"


def _kind(value, module, kinds):
    """What an assigned value shows of its type: ``(module, class)``, `_NONE`, or None."""
    if isinstance(value, ast.Constant) and value.value is None:
        return _NONE
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return module.origin(value.func.id)
    return kinds.get(value.id) if isinstance(value, ast.Name) else None


def _written(kind):
    """A type as the decorator has it."""
    return kind[1] if type(kind) is tuple else repr(kind)


def _constants(tree):
    """``{name: number}`` of a module: what is assigned an int, once and for all, as names in capitals are."""
    found = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        try:
            value = eval(
                compile(ast.Expression(statement.value), "", "eval"), {"range": range, "__builtins__": {}}, found
            )
        except Exception:
            continue  # it is made of more than numbers
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            pairs = [(target.id, value)]
        elif isinstance(target, ast.Tuple) and type(value) is range:
            pairs = zip((each.id for each in target.elts), value, strict=True)
        else:
            continue
        found.update((name, number) for name, number in pairs if name.isupper() and type(number) is int)
    return found


def _bound(function):
    """The names of a function's parameters and variables."""
    bound = {each.arg for each in function.args.args + function.args.kwonlyargs}
    return bound | {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _functions(node):
    return [each for each in node.body if isinstance(each, ast.FunctionDef)]


def _assignments(node):
    """``(target, value)`` of each."""
    for each in ast.walk(node):
        if isinstance(each, ast.AugAssign):
            yield each.target, each.value
        elif isinstance(each, ast.Assign):
            for target in each.targets:
                if isinstance(target, ast.Tuple):
                    values = each.value.elts if isinstance(each.value, ast.Tuple) else [each.value] * len(target.elts)
                    yield from zip(target.elts, values, strict=True)
                else:
                    yield target, each.value
