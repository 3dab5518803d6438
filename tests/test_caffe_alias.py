"""`import caffe` means this package, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

NAMES = """
    TRAIN TEST __version__ init_log log set_mode_cpu set_mode_gpu set_device set_random_seed layer_type_list
    get_solver solver_count set_solver_count solver_rank set_solver_rank set_multiprocess has_nccl Layer Net
    SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver NCCL Timer Classifier
    Detector io layers params NetSpec to_proto
"""
MODULES = ["net_spec", "coord_map", "draw", "io", "classifier", "detector", "proto", "layers", "params"]


def run(script: str) -> str:
    """What a script prints behind `install_as_caffe()`."""
    source = "import pycaffe_lite; pycaffe_lite.install_as_caffe()\n" + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_module_under_two_names():
    run(
        """
        import caffe, sys
        import caffe.proto.caffe_pb2 as messages
        from caffe import layers as L, params as P
        from caffe.proto import caffe_pb2
        assert caffe is pycaffe_lite and messages is caffe_pb2 is sys.modules["pycaffe_lite.proto.caffe_pb2"]
        assert L is caffe.layers is pycaffe_lite.layers and P is caffe.params
        assert caffe.__spec__.name == caffe.__name__ == "pycaffe_lite"
        assert L.__spec__.name == "pycaffe_lite.layers"
        """
    )


def test_pycaffes_inner_modules_are_the_package():
    run(
        """
        from caffe.pycaffe import Net, SGDSolver, layer_type_list
        from caffe._caffe import set_mode_cpu, Layer
        import caffe._caffe, caffe.pycaffe
        assert caffe.pycaffe is caffe._caffe is caffe and Net is caffe.Net
        assert caffe.__spec__.name == "pycaffe_lite"
        """
    )
    run("import caffe\nassert caffe._caffe is caffe.pycaffe is caffe")


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_there_with_caffe_itself(module):
    run(f"import caffe, sys\nassert caffe.{module} is sys.modules['pycaffe_lite.{module}']")


def test_all_that_import_caffe_shows():
    run(f"import caffe\nfor name in {NAMES.split()}: assert getattr(caffe, name) is not None, name")
    run(f"from caffe import {', '.join(NAMES.split())}\nassert (TRAIN, TEST) == (0, 1)")


def test_what_was_imported_as_caffe_before_makes_way():
    run(
        """
        import sys, types
        sys.modules["caffe"], sys.modules["caffe.io"] = types.ModuleType("caffe"), types.ModuleType("caffe.io")
        import pycaffe_lite.caffe_alias as alias
        sys.meta_path.remove(alias._alias)
        pycaffe_lite.install_as_caffe()
        pycaffe_lite.install_as_caffe()
        import caffe
        assert caffe is pycaffe_lite and "caffe.io" not in sys.modules
        assert sys.meta_path.count(alias._alias) == 1
        """
    )


def test_what_is_not_there_is_not_there():
    run(
        """
        import caffe
        for statement in ("import caffe.nothing", "from caffe import nothing", "from caffe.proto import nothing_pb2"):
            try:
                exec(statement)
            except ImportError as error:
                assert "nothing" in str(error)
            else:
                raise AssertionError(statement)
        assert not hasattr(caffe, "nothing")
        """
    )


def test_messages_are_ordinary_protobuf():
    run(
        """
        import pickle
        from caffe.proto import caffe_pb2
        from google.protobuf import text_format
        net = text_format.Merge('name: "n" layer { name: "p" type: "Pooling" pooling_param { pool: AVE } }',
                                caffe_pb2.NetParameter())
        again = caffe_pb2.NetParameter.FromString(net.SerializeToString())
        assert again == net == text_format.Parse(str(net), caffe_pb2.NetParameter()) == pickle.loads(pickle.dumps(net))
        other = caffe_pb2.NetParameter()
        other.MergeFromString(net.SerializeToString())
        assert text_format.MessageToString(other) == str(net)
        assert net.layer[0].pooling_param.pool == caffe_pb2.PoolingParameter.AVE == 1
        assert dict(caffe_pb2.PoolingParameter.PoolMethod.items()) == {"MAX": 0, "AVE": 1, "STOCHASTIC": 2}
        assert caffe_pb2.Phase.Value("TEST") == caffe_pb2.TEST == 1 and caffe_pb2.Phase.Name(0) == "TRAIN"
        assert caffe_pb2.V1LayerParameter.LayerType.Name(4) == "CONVOLUTION"
        assert caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[1, 2])).shape.dim[1] == 2
        """
    )
