"""Estimators that learn from rows: of `PretrainedEmbedder`, or of any other origin."""

from skltransfer.heads._folds import TaskStratifiedKFold
from skltransfer.heads._multitask import MultiTask
from skltransfer.heads._score import task_scores
from skltransfer.heads._skip import SkipBadRows

__all__ = ["MultiTask", "SkipBadRows", "TaskStratifiedKFold", "task_scores"]
