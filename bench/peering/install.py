"""Gets the peers by their packages and builds llama.cpp; makes the model files. Everything lies under one folder of build/, and
what is there already is kept."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

from .work import Model

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
LLAMA_TARGETS = ("llama-bench", "llama-batched-bench")
# What each forced instruction set is built with; "" builds for this machine.
LLAMA_FLAGS = {
    "": ["-DGGML_NATIVE=ON"],
    "avx2": ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON"],
}
LLAMA_FLAGS["avx_vnni"] = [*LLAMA_FLAGS["avx2"], "-DGGML_AVX_VNNI=ON"]
LLAMA_FLAGS["avx512"] = [*LLAMA_FLAGS["avx2"], "-DGGML_AVX512=ON"]
LLAMA_FLAGS["avx512_vnni"] = [*LLAMA_FLAGS["avx512"], "-DGGML_AVX512_VNNI=ON"]


class CannotInstall(Exception):
    pass


def step(words, command, **options):
    print(words, file=sys.stderr, flush=True)
    log = options.pop("log", None)
    with open(log or os.devnull, "ab") as out:
        if subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options).returncode != 0:
            raise CannotInstall(f"{words}: failed{f', see {log}' if log else ''}")


def versions():
    pinned = dict(line.split("==") for line in REQUIREMENTS.read_text().split() if "==" in line)
    return {"llama.cpp": pinned["llama-cpp-python"], "OpenVINO": pinned["openvino-genai"]}


def openvino_python(folder):
    """A virtual environment with OpenVINO GenAI."""
    python, mark, log = folder / "venv/bin/python", folder / "venv/requirements.txt", folder / "venv.log"
    if mark.exists() and mark.read_text() == REQUIREMENTS.read_text():
        return python
    shutil.rmtree(folder / "venv", ignore_errors=True)
    step("making a virtual environment", [sys.executable, "-m", "venv", folder / "venv"], log=log)
    packages = [line for line in REQUIREMENTS.read_text().split() if "==" in line and not line.startswith("llama-cpp-python")]
    step("installing OpenVINO GenAI", [python, "-m", "pip", "install", "--only-binary=:all:", *packages], log=log)
    mark.write_text(REQUIREMENTS.read_text())
    return python


COMPILERS = {"clang++-16": "clang-16", "g++": "gcc"}  # C++: C; the first that is there


def compiler(wanted=""):
    """The C++ compiler for llama.cpp. g++ 12 compiles its AMX path wrongly (it drops the stores to the tile configuration)."""
    found = next((name for name in ([wanted] if wanted else COMPILERS) if shutil.which(name)), None)
    if found is None:
        raise CannotInstall(f"there is no {wanted or ' and no '.join(COMPILERS)}")
    if found == "g++" and "amx_tile" in pathlib.Path("/proc/cpuinfo").read_text():
        version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True).stdout.strip()
        if version.startswith("12"):
            raise CannotInstall("this processor has AMX and g++ 12 compiles llama.cpp's use of it wrongly: apt-get install clang-16")
    return found


def llama_source(folder):
    package = f"llama_cpp_python-{versions()['llama.cpp']}"
    source = folder / package / "vendor/llama.cpp"
    if (source / "CMakeLists.txt").exists():
        return source
    archive = folder / "downloads" / f"{package}.tar.gz"
    if not archive.exists():
        step("downloading llama.cpp's source", [
            sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:all:", "-d", archive.parent,
            f"llama-cpp-python=={versions()['llama.cpp']}"], log=folder / "download.log")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return source


def llama_build(folder, instruction_set, cxx, jobs):
    """llama.cpp's programs, built for this machine or for a narrower instruction set, with its repacking of weights."""
    source = llama_source(folder)
    build = folder / f"llama-{cxx}{'-' + instruction_set if instruction_set else ''}"
    log = build.with_suffix(".log")
    if all((build / "bin" / target).exists() for target in LLAMA_TARGETS) and (build / "complete").exists():
        return build
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    off = [f"-DLLAMA_{part}=OFF" for part in ("OPENSSL", "BUILD_SERVER", "BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_UI", "BUILD_MTMD")]
    step(f"configuring llama.cpp ({cxx})", [
        "cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_COMPILER={COMPILERS[cxx]}",
        f"-DCMAKE_CXX_COMPILER={cxx}", "-DGGML_CPU_REPACK=ON", *LLAMA_FLAGS[instruction_set], *off, *launcher], log=log)
    step("building llama.cpp (minutes)", ["nice", "cmake", "--build", build, "-j", jobs, "--target", *LLAMA_TARGETS], log=log)
    (build / "complete").touch()
    return build


def llama_version(folder, cxx):
    text = (llama_source(folder) / "ggml/CMakeLists.txt").read_text()
    parts = [re.search(rf"set\(GGML_VERSION_{part} +(\d+)\)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    ggml = ".".join(part[1] for part in parts) if all(parts) else "unknown"
    return f"ggml {ggml} of llama-cpp-python {versions()['llama.cpp']}, built by {cxx}"


def model_file(model: Model, folders):
    """The file, where one of the folders has it; else made in the first."""
    for folder in folders:
        if (folder / model.file_name).exists():
            return folder / model.file_name
    path = folders[0] / model.file_name
    folders[0].mkdir(parents=True, exist_ok=True)
    python = "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else sys.executable  # which has numpy
    whole = path.with_suffix(".part")
    step(f"making {model.file_name}", [python, ROOT / "tools/make_model.py", *model.make_arguments, "--quiet", whole],
         log=folders[0] / "make.log")
    whole.rename(path)
    return path
