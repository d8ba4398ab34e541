"""Distil a compact convolutional backbone from larger ONNX backbones, on a CPU or an NVIDIA GPU.

Five commands, run in this order from the folder ``models/recipes``::

    python distill_vision prepare --cache CACHE --images A.zip B/ --teachers T.onnx:192
    python distill_vision train   --cache CACHE --run RUN --minutes 90
    python distill_vision export  --checkpoint RUN/last.pt --output vision-mini.onnx --size 96
    python distill_vision probe   --model vision-mini.onnx --arrays CIFAR --photographs CLOTHING
    python distill_vision card    --model vision-mini.onnx --output vision-mini --arrays CIFAR --photographs CLOTHING

The images need no labels. `prepare` runs each teacher once per image and keeps its last feature map, so that the
target of any random crop is the mean of the teacher's features in that region: views are unlimited, and consistent
with the crop, although the teacher never runs again.

=============  ======================================================================
`images`       folders and archives to squares of pixels
`teachers`     ONNX backbones and their feature maps
`targets`      feature maps on few principal components
`student`      the network
`views`        random crops and their targets
`losses`       the loss
`warm_start`   weights of an exported student, pruned where the new one is narrower
`pace`         a deadline, and the number of threads
`prepare`, `train`, `export`, `probe`, `card`      one command each
`commands`     the command line
=============  ======================================================================

The recipe needs skltransfer with its extra ``torch``: its training loop, and the estimator that `card` measures the
student with. skltransfer imports nothing of the recipe.
"""
