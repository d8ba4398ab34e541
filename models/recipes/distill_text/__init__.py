"""Distil a static token-embedding backbone from a sentence encoder, on a CPU, without any text.

Two commands, run in this order from the folder ``models/recipes``::

    python distill_text make  --teacher TEACHER.onnx --tokenizer TOKENIZER.json --output text-mini
    python distill_text probe --model text-mini --sets BANKING77/ SST2/ --teacher TEACHER.onnx

`make` embeds every token of the teacher's vocabulary, alone and in a few short phrases, and stores the means as a table
of 4-bit numbers. The graph that it writes looks the tokens of a text up and returns their weighted mean: nothing in it
depends on the order of the words.

==============  ===============================================================
`encoders`      the teacher, the student, batches of token ids
`table`         a vector and a weight per token, in 4 bits
`graph`         the ONNX graph
`make`, `probe`    one command each
`commands`      the command line
==============  ===============================================================

The recipe imports nothing of the package that uses the files. It needs numpy, onnx, onnxruntime and tokenizers, and
scikit-learn for `probe`.
"""
