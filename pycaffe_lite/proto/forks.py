"""Which fork of Caffe a field, an enum value or a layer type comes from, for those that we do not have.

Most fields of the SSD and NVIDIA forks are in proto/caffe.proto. Here are the others: those whose numbers
are taken there, all of Intel's, and the layers that travelled furthest from published papers' code.
"""

from __future__ import annotations

# fork -> message type (or the name of an enum field) -> its names
_FORKS = {
    "NVIDIA's Caffe": {
        "LayerParameter": "forward_type backward_type forward_math backward_math",
        "SolverParameter": "rampup_interval rampup_lr min_lr solver_data_type",
        "TransformationParameter": "img_rand_resize_lower img_rand_resize_upper rand_resize_ratio_lower"
        " rand_resize_ratio_upper vertical_stretch_lower use_gpu_transform random_seed",
    },
    "FlowNet's Caffe": {"LayerParameter": "augmentation_param coeff_schedule_param"},
    "MobileNet-YOLO's Caffe": {"AnnotatedDataParameter": "yolo_data_type yolo_data_jitter train_diffcult"},
    "Caffe for face recognition (happynear)": {"LayerParameter": "normalize_param"},
    "OpenPose's Caffe": {"LayerParameter": "cpm_transform_param"},
    "OpenVINO's Caffe": {"LayerParameter": "ctc_decoder_param"},
    "DeepLab's Caffe": {"ImageDataParameter": "label_type"},
    # layer types of 2014, when they were an enum
    "DeconvNet's Caffe": {"type": "BN UNPOOLING IMAGE_SEG_DATA WINDOW_SEG_DATA ELTWISE_ACCURACY"},
    "CRF-as-RNN's Caffe": {"type": "CROP MULTI_STAGE_MEANFIELD"},
    "deepsaldet's Caffe": {"type": "MCWINDOW_DATA"},
    "ChenglongChen's caffe-windows": {"type": "COMPACT_DATA PRELU"},
    "Intel's Caffe": {
        "NetParameter": "compile_net_state engine bn_stats_batch_size multinode",
        "SolverParameter": "stagelr stageiter disabled_update engine warmup_iter warmup_start_lr"
        " local_lr_auto local_gw_ratio test_offset",
        "LayerParameter": "split_param spatial_dropout_param engine multinode mn_activation_param"
        " mn_grad_compress_param quantization_param reorg_param region_loss_param eval_detection_param",
        "TransformationParameter": "random_resize_param random_aspect_ratio_param flow bgr2rgb pad",
        "FillerParameter": "scale",
        "LossParameter": "pre_fixed_normalizer",
        "ConcatParameter": "per_fla_fuse engine",
        "BatchNormParameter": "use_weight_bias bias_term filler stats_batch_size relu",
        "ConvolutionParameter": "relu negative_slope conv_algorithm coeff fusion_type",
        "DataParameter": "side",
        "EltwiseParameter": "engine",
        "ImageDataParameter": "min_height min_width",
        "InnerProductParameter": "engine relu negative_slope",
        "PoolingParameter": "pad_3d kernel_size_3d stride_3d avg_include_pad axis",
        "ReLUParameter": "fuse",
        "ReshapeParameter": "pixelshuffler",
        "engine": "MKL2017 MKLDNN",
        "normalization": "PRE_FIXED",
    },
}

# fork -> the layer types that it added; where several have one, it stands with the fork it spread from
_LAYERS = {
    "SSD's Caffe": "AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox VideoData",
    "Fast R-CNN's Caffe": "ROIPooling SmoothL1Loss",
    "PVANet's Caffe": "Proposal",
    "R-FCN's Caffe": "PSROIPooling BoxAnnotatorOHEM SmoothL1LossOHEM SoftmaxWithLossOHEM",
    "MNC's Caffe": "MaskPooling MaskResize ROIWarping",
    "NVIDIA's Caffe": "DetectNetTransformation L1Loss",
    "Intel's Caffe": "ContinuationIndicator EvalDetection RegionLoss Reorg SimplerNMS SpatialDropout",
    "OpenVINO's Caffe": "CTCGreedyDecoder PriorBoxClustered",
    "SegNet's Caffe (ENet's too)": "DenseImageData Upsample",
    "SegNet's and PSPNet's Caffe": "BN",
    "DeepLab's Caffe (PSPNet's too)": "AdaptiveBiasChannel BiasChannel DenseCRF DomainTransform ImageSegData Interp"
    " MatRead MatWrite SegAccuracy SpatialProduct UniqueLabel",
    "DeconvNet's Caffe": "Unpooling",
    "CRF-as-RNN's Caffe": "MultiStageMeanfield",
    "SENet's Caffe": "Axpy",
    "ShuffleNet's Caffe": "ShuffleChannel",
    "the Caffe of MobileNet-SSD": "ReLU6",
    "MobileNet-YOLO's Caffe": "AssistedExcitation GaussianYolov3 HardSigmoid LaneData YoloDetectionOutput YoloSeg"
    " Yolov3 Yolov3DetectionOutput",
    "FlowNet's Caffe": "Accum ChannelNorm Correlation DataAugmentation FlowWarp Resample",
    "CTPN's Caffe": "Lstm Reverse Transpose",
    "SqueezeDet's Caffe": "BboxData SqueezeDetLoss",
    "OpenPose's Caffe": "CPMData",
    "SphereFace's Caffe": "MarginInnerProduct",
    "Caffe for face recognition (happynear)": "CenterLoss ChannelScale Flip GlobalLSEMargin InnerDistance"
    " LabelSpecificAdd LabelSpecificAffine LabelSpecificHardMargin LabelSpecificMargin LabelSpecificRescale",
    "Ristretto": "ConvolutionRistretto DeconvolutionRistretto FcRistretto LRNRistretto PoolingRistretto",
    "MCB's Caffe": "CompactBilinear",
    "naibaf7's Caffe": "DataRandTransform MergeCrop",
    "DMSH's Caffe": "HashingLoss",
    "On-accelerator-training's Caffe": "ConvolutionFloat ImageOutput InnerProductFloat PoolingFloat",
    "TensorRT, as a plug-in,": "RPROI",
    "MyCaffe": "LayerNorm MemoryLoss",
}


def fork_with_layer(type_name: str) -> str:
    """The fork that has this layer type; empty when none is known."""
    return next((fork for fork, types in _LAYERS.items() if type_name in types.split()), "")


def fork_of(name: str, owner: str) -> str:
    """The fork whose message type (or enum field) `owner` has this name; empty when none is known."""
    for fork, owners in _FORKS.items():
        if name in owners.get(owner, "").split():
            return fork
    if owner != "LayerParameter" or not name.endswith("_param"):
        return ""
    type_name = name.removesuffix("_param").replace("_", "")  # roi_pooling_param is for ROIPooling
    return next((fork for fork, types in _LAYERS.items() if type_name in types.lower().split()), "")
