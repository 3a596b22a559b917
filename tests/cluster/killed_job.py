"""A job of predictions that is killed when it has written so many parts.

python killed_job.py RUN DATA OUT PARTS ROWS_OF_A_PART
"""

import os
import signal
import sys
from pathlib import Path

from bertjax.cluster import output
from bertjax.cluster.predict import predict
from bertjax.workflows.configs import PredictConfig, WorkersConfig

if __name__ == "__main__":
    run, data, out, left, output.PART = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
    write = output.Output._write_part

    def write_then_die(self, file, waiting):
        global left
        write(self, file, waiting)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    output.Output._write_part = write_then_die
    predict(
        PredictConfig(run=run, data=data, out=Path(out), cluster=WorkersConfig(workers=1)), print
    )
