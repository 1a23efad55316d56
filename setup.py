"""Generates the gRPC stubs at build time; everything else is in setup.cfg."""

import os
import sys
from importlib.resources import files
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithStubs(build_py):
    """Runs protoc with the repository as include root, so that the stubs import from `protos`."""

    def run(self) -> None:
        super().run()
        from grpc_tools import protoc

        target = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        # mypy-protobuf's plugins are scripts beside the interpreter, which need not be on PATH.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        # Type the servicers as what they are at run time, concrete classes: methods may be left out (UNIMPLEMENTED).
        plugins = ("python", "grpc_python", "mypy", "mypy_grpc")
        outputs = [f"--{plugin}_out={target}" for plugin in plugins]
        outputs.append("--mypy_grpc_opt=generate_concrete_servicer_stubs")
        sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos").glob("*.proto"))
        includes = [f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
        here = os.getcwd()
        os.chdir(ROOT)
        try:
            status = protoc.main(["protoc", *includes, *outputs, *sources])
        finally:
            os.chdir(here)
        if status != 0:
            raise SystemExit(f"protoc failed with status {status}")


setup(cmdclass={"build_py": BuildWithStubs})
