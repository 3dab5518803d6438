"""`caffe-lite run`: scripts see what Python itself would show them, and caffe besides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycaffe_lite.cli import main

ROOT = Path(__file__).resolve().parents[2]
RUN = ("-m", "pycaffe_lite", "run")


def python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "GLOG_minloglevel": "1", **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def script(tmp_path):
    def write(text: str, name: str = "script.py") -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return name

    return write


SURROUNDINGS = """
'''Its docstring.'''
import sys, pickle, inspect
import beside_it
class Mine: pass
print(sys.argv, sys.path[0], __file__, __name__, __doc__, sorted(globals()))
print(pickle.loads(pickle.dumps(Mine())), inspect.getsource(Mine), sys.modules["__main__"].Mine is Mine)
print(__annotations__ if sys.version_info < (3, 14) else {}, __spec__, __package__, __builtins__)
def hints(x: Mine): ...
print(hints.__annotations__ if sys.version_info < (3, 14) else {})  # not those of `from __future__`
"""
ENDS = {
    "falls off its end": "print('done')",
    "exit status": "import sys; sys.exit(7)",
    "exit text": "raise SystemExit('that was it')",
    "no exit status": "exit()",
    "error": "def f(): 1 / 0\ntry: f()\nexcept ZeroDivisionError as e: raise ValueError('so') from e",
    "no Python": "x = (\n",
    "own hook": "import sys\nsys.excepthook = lambda kind, error, trace: print(kind, trace.tb_lineno)\n\n1 / 0",
    "at exit": "import atexit, threading as t\natexit.register(print, 'last')\nt.Timer(0.1, print, ['late']).start()",
    "encoding": "# -*- coding: latin-1 -*-\nprint(len('\xc3\xa9'))",
}


@pytest.mark.parametrize("how", ["script.py", "link.py", "../folder/script.py"])
def test_its_surroundings_are_those_that_python_gives(script, tmp_path, how):
    script(SURROUNDINGS, "folder/script.py")
    script("", "folder/beside_it.py")
    (tmp_path / "folder" / "link.py").symlink_to("script.py")
    arguments = [how, "-solver=x_y", "--some_flag", "--help", "--", "-v"]
    by_us, by_python = (python(tmp_path / "folder", *start, *arguments) for start in (RUN, ()))
    assert by_us.stderr == by_python.stderr == ""
    assert without_addresses(by_us.stdout) == without_addresses(by_python.stdout)


def without_addresses(text: str) -> str:
    return " ".join(word for word in text.split() if not word.startswith("0x"))


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
def test_it_ends_as_with_python(script, tmp_path, text):
    name = script(text)
    by_us, by_python = (python(tmp_path, *start, name) for start in (RUN, ()))
    assert (by_us.returncode, by_us.stdout, by_us.stderr) == (by_python.returncode, by_python.stdout, by_python.stderr)


def test_interrupts_and_errors_of_caffe_show_where_they_come_from(script, tmp_path):
    done = python(tmp_path, *RUN, script("raise KeyboardInterrupt"))
    assert done.returncode == 130
    assert done.stderr.splitlines()[-3:][0].endswith("line 1, in <module>")
    done = python(tmp_path, *RUN, script("import caffe\ncaffe.Net('none.prototxt', caffe.TEST)"))
    assert done.returncode == 1
    assert "script.py\", line 2, in <module>\n    caffe.Net('none.prototxt', caffe.TEST)\n" in done.stderr
    assert "none.prototxt: No such file" in done.stderr.splitlines()[-1]
    assert "cli" not in done.stderr


PYCAFFE = """
import os, sys, tempfile, unittest
import numpy as np
import caffe
import caffe.proto.caffe_pb2
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from google.protobuf import text_format

class TestNet(unittest.TestCase):
    def setUp(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 1, 6, 6]))
        n.conv = L.Convolution(n.data, kernel_size=3, num_output=4, weight_filler=dict(type='xavier'))
        n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        n.plus = L.Python(n.pool, module='__main__', layer='Plus', param_str='3')
        f = tempfile.NamedTemporaryFile(mode='w+', delete=False)
        f.write('name: "of a test" force_backward: true ' + str(n.to_proto()))
        f.close()
        self.net = caffe.Net(f.name, caffe.TEST)
        os.remove(f.name)

    def test_forward(self):
        self.net.blobs['data'].data[...] = np.arange(72).reshape(2, 1, 6, 6)
        plus = self.net.forward()['plus']
        np.testing.assert_allclose(plus, self.net.blobs['pool'].data + 3, rtol=1e-6)
        self.net.backward()

    def test_messages(self):
        net = caffe_pb2.NetParameter()
        text_format.Merge('layer { type: "Pooling" pooling_param { pool: AVE } }', net)
        self.assertEqual(net.layer[0].pooling_param.pool, P.Pooling.AVE)
        self.assertIn('Convolution', caffe.layer_type_list())

class Plus(caffe.Layer):
    def setup(self, bottom, top): self.plus = float(self.param_str)
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data + self.plus
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff

if __name__ == '__main__':
    unittest.main()
"""


def test_a_script_written_for_pycaffe(script, tmp_path):
    done = python(tmp_path, *RUN, script(PYCAFFE), "-v", "TestNet")
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
    told = python(tmp_path, *RUN, "script.py", GLOG_minloglevel="0")
    assert "net.cpp:122] Setting up conv" in told.stderr
    assert "net.cpp" not in done.stderr


def test_the_script_itself_may_silence_the_log(script, tmp_path):
    script('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }', "net.prototxt")
    text = "import os\nos.environ['GLOG_minloglevel'] = '2'\nimport caffe\ncaffe.Net('net.prototxt', caffe.TEST)"
    done = python(tmp_path, *RUN, script(text), GLOG_minloglevel="0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SPAWNING = """
import multiprocessing, caffe
from caffe.proto import caffe_pb2

def work(number):
    return caffe.__name__, caffe_pb2.Phase.Name(number)

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(work, [0, 1]))
"""


def test_processes_that_the_script_starts_have_caffe_too(script, tmp_path):
    done = python(tmp_path, *RUN, script(SPAWNING))
    assert done.stdout == "[('pycaffe_lite', 'TRAIN'), ('pycaffe_lite', 'TEST')]\n", done.stderr


@pytest.mark.parametrize("name, why", [("none.py", "No such file or directory"), (".", "Is a directory")])
def test_what_is_no_script(capsys, tmp_path, monkeypatch, name, why):
    monkeypatch.chdir(tmp_path)
    assert main(["run", name, "--more"]) == 1
    assert capsys.readouterr().err == f"caffe-lite run: error: cannot open script {name!r}: {why}\n"


def test_its_own_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--help"])
    assert stop.value.code == 0
    assert "Run a Python script as `python SCRIPT ARGS` would" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as stop:
        main(["run"])
    assert stop.value.code == 2
