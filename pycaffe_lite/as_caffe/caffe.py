"""What `import caffe` finds in processes that a script of `caffe-lite run` starts by multiprocessing: this package.

Such a process begins anew, with the script's sys.path, on which the folder of this file is; nobody else finds it.
"""

import sys

import pycaffe_lite

pycaffe_lite.install_as_caffe()
sys.modules[__name__] = pycaffe_lite
