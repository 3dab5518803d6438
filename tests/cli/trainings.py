"""A net that learns from noise in no time, and its solver."""

from __future__ import annotations

NET = """
name: "noise"
layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 4 dim: 6 } shape { dim: 4 dim: 3 } data_filler { type: "gaussian" } data_filler { value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
layer { name: "twice" type: "Power" bottom: "y" top: "twice" power_param { scale: 2 } include { stage: "more" } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 random_seed: 1 snapshot_prefix: "s"\n'
