"""A run, from paths to the index. Read ``stream`` first.

``stream``        the run itself: what flows from where to where
``setup``         everything that is decided before it starts
``loader``        a file to the model's input
``batching``      images to batches, batches to explanations
``cuda_render``   pictures of a batch at once, on a CUDA device
``writer``        an explanation to files and a row
``items``         what flows between them, and the row of an image
``folder``        which folder it writes
``header``        what a run records of itself, and its fingerprints
``targets``       the ``--target`` language
``labels``        the true class of an image
``scale_sample``  ``--scale sample:N``
``isolation``     an error with one image ends the work on that image alone
``crash_guard``   images that may have ended the last process

Imports nothing itself: the command line must not wait for torch.
"""
