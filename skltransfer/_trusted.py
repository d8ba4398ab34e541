"""Types of ours that a saved pipeline may hold; the list is data, for skops and for jobs that load pipelines."""

#: Types of a saved pipeline that skops is to trust: ``skops.io.load(FILE, trusted=skltransfer.TRUSTED)``.
TRUSTED = [
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # of Python 3.13
    "pathlib._local.WindowsPath",
    "skltransfer.adapt._classifier.AdaptedClassifier",
    "skltransfer.adapt._scaler.DomainScaler",
    "skltransfer.cards._card.Card",
    "skltransfer.cards._card.ModelFile",
    "skltransfer.cards._inputs.ArraySpec",
    "skltransfer.cards._inputs.ImageSpec",
    "skltransfer.cards._inputs.TextSpec",
    "skltransfer.detection._cells.Cells",
    "skltransfer.detection._detector.ObjectDetector",
    "skltransfer.detection._maps.Projection",
    "skltransfer.detection._regions.Regions",
    "skltransfer.detection._regions.Scaler",
    "skltransfer.embedder.PretrainedEmbedder",
    "skltransfer.finetune._embedder.FineTunedEmbedder",
    "skltransfer.heads._multitask.MultiTask",
    "skltransfer.heads._skip.SkipBadRows",
]
