"""People over time: tables of boxes, video, folders of frames, and tracklets."""
