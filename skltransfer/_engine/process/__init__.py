"""State of the process: registered locks, tables and memos, one fork hook, one reset, child processes, folders, files.

Whatever a room keeps between two calls is made by `lock`, `Table` or `memo`. So the child of a fork finds every lock
open and no session, connection or tokenizer of its parent, and `reset` forgets everything. A test walks the modules
and fails on a lock or a table that was made otherwise.
"""

from skltransfer._engine.process._children import (
    ChildFailure,
    answer,
    answer_pipe,
    interpreter,
    pipe_child,
    run_child,
    start_child,
)
from skltransfer._engine.process._files import (
    FileState,
    expand,
    file_state,
    file_states,
    is_in_memory,
    read_once,
    user_folder,
)
from skltransfer._engine.process._memory import free_memory, give_back, memory_limit
from skltransfer._engine.process._registry import Table, is_registered, lock, memo, register, reset

__all__ = [
    "ChildFailure",
    "FileState",
    "Table",
    "answer",
    "answer_pipe",
    "expand",
    "file_state",
    "file_states",
    "free_memory",
    "give_back",
    "interpreter",
    "is_in_memory",
    "is_registered",
    "lock",
    "memo",
    "memory_limit",
    "pipe_child",
    "read_once",
    "register",
    "reset",
    "run_child",
    "start_child",
    "user_folder",
]
