"""The extension modules, for setuptools."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension

from compilation import names
from compilation.declarations import Declarations, Module

FOLDER = Path("build/compiled")  # what Cython reads, and the C that it makes
DIRECTIVES = {
    "language_level": 3,
    "binding": False,
    "nonecheck": True,  # else an attribute of None would be a segmentation fault
}
_LOOPS = {"pystack.wire.checksum"}  # of C's types, which are worth to be optimised
_CORES = os.cpu_count() or 1


def extensions(optimized=True):
    """Write what Cython reads, and have it make C of that; with the project's folder as the current one."""
    paths = {path.removesuffix(".py").replace("/", "."): path for path in names.MODULES}
    modules = {name: Module(name, Path(path).read_text()) for name, path in paths.items()}
    declarations = Declarations(modules, names.TYPES, names.ATTRIBUTES, names.REPLACED)
    for name, path in paths.items():
        _write(FOLDER / path, declarations.source(name))
        _write((FOLDER / path).with_suffix(".pxd"), declarations.declarations(name))
        for folder in Path(path).parents[:-1]:
            _write(FOLDER / folder / "__init__.py", "")
    made = []
    for name, path in paths.items():
        level = "-O0" if not optimized else "-O3" if name in _LOOPS else "-O1"
        made.append(Extension(name, [str(FOLDER / path)], extra_compile_args=[level, "-g0"]))
    return cythonize(made, nthreads=_CORES, compiler_directives=DIRECTIVES, include_path=[str(FOLDER)], quiet=True)


def options():
    """Of setuptools' commands."""
    return {"build_ext": {"parallel": _CORES}}


def _write(path, text):
    """Leave a file that is as it should be, and its age, alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
