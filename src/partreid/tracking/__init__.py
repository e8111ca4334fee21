"""People over time: tables of boxes, video, folders of frames, tracklets and galleries of them; what trackers need."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.tracking.boxes import BoxTable, TrackBoxes, read_boxes
    from partreid.tracking.filling import VideoNaming, add_tracks
    from partreid.tracking.frame_embedder import FrameEmbedder
    from partreid.tracking.frame_folder import FrameFolder
    from partreid.tracking.memory import AppearanceMemory, cost, single_vector
    from partreid.tracking.memory_file import load_memories, save_memories
    from partreid.tracking.tracklets import Tracklet, merge_tracklet, merge_tracklets
    from partreid.tracking.video import VideoFrame, iter_frames
    from partreid.tracking.video_tracks import BestCrops, VideoTracks, embed_tracks, embed_video, open_frames

__all__ = [
    "AppearanceMemory", "BestCrops", "BoxTable", "FrameEmbedder", "FrameFolder", "TrackBoxes", "Tracklet",
    "VideoFrame", "VideoNaming", "VideoTracks", "add_tracks", "cost", "embed_tracks", "embed_video", "iter_frames",
    "load_memories",
    "merge_tracklet", "merge_tracklets", "open_frames", "read_boxes", "save_memories", "single_vector",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
