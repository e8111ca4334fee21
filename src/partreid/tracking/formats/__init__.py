"""Readers of tables of boxes, one file per family of formats: from a file to :class:`~partreid.tracking._box_rows.BoxRows`."""
