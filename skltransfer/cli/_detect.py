"""``skltransfer detect``: train a detector, detect, and measure how good it is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skltransfer import detection
from skltransfer._engine import listing
from skltransfer.cli._arguments import DEFAULT_MODEL, Command, device, output_file
from skltransfer.cli._output import say, table
from skltransfer.errors import FolderError, visible

#: Metrics that are printed.
METRICS = {"mAP .5:.95": None, "AP .5": 0.5, "AP .75": 0.75}


def _share(text: str) -> float:
    """Check that a number is between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _add_annotations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "annotations", type=Path, help="a JSON file of COCO, or a folder of .xml (Pascal VOC) or .txt (YOLO) files"
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="folder of the images (COCO: that of the file)")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="YOLO: names of the classes, one a line")


def _read(args: argparse.Namespace) -> tuple[list[str], list[dict[str, Any]], list[Any]]:
    """Read annotations of the kind that the path shows."""
    if args.annotations.is_file():
        return detection.read_coco(args.annotations, args.images)
    if args.images is None:
        raise FolderError(f"{str(args.annotations)!r} is a folder of annotations; pass --images FOLDER, too.")
    if any(file.lower().endswith(".xml") for file in listing.list_files(args.annotations)):
        return detection.read_voc(args.annotations, args.images)
    return detection.read_yolo(args.images, args.annotations, args.classes)


def _add_train(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer detect train``."""
    _add_annotations(parser)
    parser.add_argument("--output", required=True, type=output_file, metavar="FILE", help="file of the detector")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"backbone; default: {DEFAULT_MODEL}")
    parser.add_argument("--device", default="auto", type=device, help="device of the backbone")
    parser.add_argument("--no-mirror", action="store_true", help="left and right matter, as in texts")


def _train(args: argparse.Namespace) -> int:
    """Run ``skltransfer detect train``."""
    paths, targets, _ = _read(args)
    detector = detection.ObjectDetector(args.model, device=args.device, mirror=not args.no_mirror)
    detector.fit(paths, targets)
    detection.save_detector(detector, args.output)
    recall = detector.proposal_recall_
    found = ", ".join(f"{share:.0%} at IoU {iou}" for iou, share in recall.items())
    say(f"{len(paths)} images, {len(detector.classes_)} classes, scales {detector.scales_}; proposals reach {found}.")
    say(f"Use it with: skltransfer detect predict {visible(args.output)} IMAGES --output FILE.json")
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer detect predict``."""
    parser.add_argument("detector", help="file of `skltransfer detect train`")
    parser.add_argument("images", nargs="+", help="images, or folders of them")
    parser.add_argument("--output", required=True, type=output_file, metavar="FILE", help="COCO JSON to write")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the boxes, and write to this folder")
    parser.add_argument("--threshold", type=_share, help="least score; default: that of the detector, 0.5")


def _listed(names: list[str]) -> list[str]:
    """Return files, and the images of folders."""
    listed = []
    for name in names:
        files = listing.list_files(name) if Path(name).is_dir() else [name]
        listed += [file for file in files if file == name or file.lower().endswith(listing.SUFFIXES)]
    if not listed:
        raise FolderError(f"{names[0]!r} has no image.")
    return listed


def _predict(args: argparse.Namespace) -> int:
    """Run ``skltransfer detect predict``."""
    detector, paths = detection.load_detector(args.detector), _listed(args.images)
    if args.pictures is not None and not args.pictures.is_dir():
        raise FolderError(f"{str(args.pictures)!r} is no folder; create it with mkdir.")
    found = detector.predict(paths, score_threshold=args.threshold)
    detection.write_coco(args.output, paths, found, detector.classes_)
    for number, (path, one) in enumerate(zip(paths, found, strict=True)):
        if args.pictures is not None:
            detection.draw_boxes(path, one, args.pictures / f"{number:05}_{Path(path).stem}.jpg")
    say(f"{sum(len(one['labels']) for one in found)} objects in {len(paths)} images: {visible(args.output)}")
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer detect evaluate``."""
    parser.add_argument("detector", help="file of `skltransfer detect train`")
    _add_annotations(parser)


def _evaluate(args: argparse.Namespace) -> int:
    """Run ``skltransfer detect evaluate``."""
    detector, (paths, targets, _) = detection.load_detector(args.detector), _read(args)
    found = detector.predict(paths, score_threshold=0.0)
    by_class = {
        name: detection.average_precision(targets, found, iou=iou, per_class=True) for name, iou in METRICS.items()
    }
    rows = [(label, *(f"{of[label]:.3f}" for of in by_class.values())) for label in next(iter(by_class.values()))]
    means = [detection.average_precision(targets, found, iou=iou) for iou in METRICS.values()]
    say(table([*rows, ("mean", *(f"{mean:.3f}" for mean in means))], ("class", *METRICS)))
    return 0


COMMANDS = (
    Command("train", "learn to detect, from annotated images", _train, _add_train),
    Command("predict", "detect objects, and write boxes as COCO JSON and as pictures", _predict, _add_predict),
    Command("evaluate", "compute the average precision on annotated images", _evaluate, _add_evaluate),
)
