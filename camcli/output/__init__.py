"""The run folder: artefacts that appear whole or not at all, the journal, the index, and the lock. Knows no model.

``run_folder`` opens a folder and gives a journal and a writer; ``names`` says where an artefact lies; ``index`` and
``table`` write the results from the journal at the end.
"""
