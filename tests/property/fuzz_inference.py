"""Right arguments of what makes embeddings: extractor, images, files, tracks, video."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image

from partreid import json_files
from partreid.functional import merging
from partreid.inference import adapting, cameras, crops, embedding_file, inputs, many, storage
from partreid.inference.extractor import PartExtractor
from partreid.models import build, checkpoint, official
from partreid.models.backbones import weights
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runners import adaptation
from partreid.runners import runner as runners
from partreid.runners._batch_norms import Statistics
from partreid.runtime import RuntimeConfig
from partreid.tracking import _track_names as track_names
from partreid.tracking import boxes, detections, frame_folder, track_boxes, tracklets, video, video_tracks
from partreid.types import PartEmbeddings, ReIDImage
from tests.property.fuzz_types import folder, output
from tests.property.fuzzing import Target, embeddings, fuzz, tensors

MODEL = ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4)
SIZE = PreprocessConfig(height=32, width=16)
FOLDERS = itertools.count()


@functools.cache
def network() -> build.BPBReID:
    """A small network of random weights."""
    torch.manual_seed(0)
    return build.build_network(MODEL, 2)  # type: ignore[return-value]


@functools.cache
def extractor() -> PartExtractor:
    return PartExtractor(network(), SIZE, runtime=RuntimeConfig(device="cpu", batch_size=4))


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@st.composite
def files(draw: st.DrawFn, suffix: str) -> Path:
    """A whole file: an image, embeddings, boxes."""
    path = folder() / f"whole{draw(st.integers(0, 1))}{suffix}"
    if suffix == ".png":
        Image.fromarray(image()).save(path)
    elif suffix == ".pth":
        torch.save({"model": {"module.a": torch.ones(2)}, "epoch": 3}, path)
    elif suffix == ".json":
        path.write_text('{"a": [1, 2.5, null]}')
    elif suffix == ".safetensors":
        made = PartEmbeddings(torch.ones(2, 1, 3), torch.ones(2, 1), ("head",))
        embedding_file.save_embeddings(path, made, names=["a", "b"])
    else:
        path.write_text("frame,track,x1,y1,x2,y2\n0,a,0,0,20,30\n1,a,5,5,20,30\n")
    return path


def frames() -> Path:
    """A folder of two frames, one of them damaged."""
    path = folder() / "frames"
    path.mkdir(exist_ok=True)
    Image.fromarray(image()).save(path / "0.png")
    (path / "1.png").write_bytes(b"damaged")
    return path


@st.composite
def checkpoints(draw: st.DrawFn) -> Path:
    """A checkpoint's folder."""
    path = folder() / f"run{draw(st.integers(0, 1))}"
    if not path.exists():
        checkpoint.save_checkpoint(checkpoint.Checkpoint(network(), SIZE), path)
    return path


def made() -> adaptation.Adaptation:
    """Statistics of one layer for two cameras; of another model than :func:`network`."""
    both = Statistics(torch.zeros(2, 3), torch.ones(2, 3))
    return adaptation.Adaptation("none", ("1", "gate"), (100, 300), 0.7, {"backbone.bn1": both}, torch.ones(2, 2, 3))


CROPS = st.lists(st.sampled_from([image(), Image.fromarray(image())]), min_size=1, max_size=2)
EXTRACTOR = st.builds(extractor)
FRAMES = st.just([video.VideoFrame(0, 0.0, image()), video.VideoFrame(1, None, image())])
BOXES = st.builds(lambda: [[0, 0, 20, 30], [-5, 3.5, 20, 99]])
TABLE = st.builds(
    lambda: track_boxes.TrackBoxes(np.array([0, 1]), np.array([0, 0]), np.array([[0.0, 0, 9, 9]] * 2), ("a",))
)
EACH = st.builds(
    lambda: track_boxes.TrackBoxes(np.array([0, 1]), np.array([0, 1]), np.array([[0.0, 0, 9, 9]] * 2), ("0/0", "1/0"))
)
RESULT = SimpleNamespace(xyxy=np.array([[0.0, 0, 9, 9]]), tracker_id=[7], confidence=[0.5], class_id=[0])

NAMES = st.one_of(
    st.sampled_from([None, np.datetime64("NaT"), float("nan"), np.float32("nan"), np.int64(7), 7, 7.0, "7", True, -1]),
    st.text(max_size=4), st.integers(), st.floats(), st.decimals(), st.fractions(), st.binary(max_size=2),
    st.tuples(st.integers(-1, 1), st.text(max_size=1)), st.integers(0, 3).map(torch.tensor), st.datetimes(),
)  # fmt: skip
"""What people number tracks with: of every scalar type."""

FIRST_LINES = ["", "frame,track,x1,y1,x2,y2", "frame,id,bb_left,bb_top,bb_width,bb_height,conf,class,visibility",
               "frame_index,tracker_id,x_min,y_min,x_max,y_max", "#frame,track,x1,y1,x2,y2", "x1,x1"]  # fmt: skip
CELLS = st.one_of(
    st.integers(0, 40).map(str), st.floats().map(str), st.text(max_size=3),
    st.sampled_from(["", "-1", "nan", "None", "1e400", "0x1", "1_0"]),
)  # fmt: skip


@st.composite
def frame_folders(draw: st.DrawFn) -> Path:
    """A folder of frames of whatever names."""
    name = st.text("0123456789ab_-. é", min_size=1, max_size=8).filter(lambda text: text.strip(". ") != "")
    path = folder() / f"frames{draw(st.integers(0, 10**9))}"
    path.mkdir(exist_ok=True)
    for one in draw(st.lists(name, min_size=1, max_size=4)):
        Image.fromarray(image()[:2, :2]).save(path / f"{one}.png")
    return path


SUMS = embeddings(n=2).map(lambda e: merging.SlotSums.of(e.vectors[:, None], e.visibility[:, None]))
OUTPUT = tensors(2, 3, 4).map(output)

TARGETS: list[Target] = [
    fuzz(PartExtractor.embed, self=EXTRACTOR, images=CROPS),
    fuzz(PartExtractor.outputs, self=EXTRACTOR, images=CROPS),
    fuzz(PartExtractor.stream, self=EXTRACTOR, images=CROPS, on_error="skip", readers=0),
    fuzz(PartExtractor, model=st.builds(network), preprocess=SIZE, runtime=None, mirror=False),
    fuzz(PartExtractor.from_runner.__func__, all=st.builds(
        lambda: {"cls": PartExtractor, "runner": extractor().runner, "runtime": None})),
    fuzz(PartExtractor.from_pretrained.__func__, all=checkpoints().map(lambda p: {
        "cls": PartExtractor, "source": p, "device": "cpu", "batch_size": 4,
        "overrides": {"visibility": "continuous"}})),
    fuzz(PartExtractor.embed_boxes, self=EXTRACTOR, frame=st.builds(image), boxes=BOXES, order="bgr", on_error="warn"),
    fuzz(PartExtractor.save_pretrained, self=EXTRACTOR, folder=st.builds(lambda: folder() / "saved")),
    fuzz(PartExtractor.push_to_hub, right=False, self=EXTRACTOR, repo_id=st.just("no/such/name"), private=True),
    fuzz(adapting.adapt, right=False, extractor=EXTRACTOR, images=CROPS, cameras="1", weight=0.7, most=100,
         skip_damaged=st.booleans()),
    fuzz(cameras.own_camera, image=st.sampled_from([ReIDImage(Path("a.jpg"), 1, 0), "b.jpg"])),
    fuzz(cameras.with_cameras, images=CROPS.map(iter), cameras=st.sampled_from([None, 1, "gate", lambda image: None])),
    fuzz(cameras.cameras_from, rule=st.sampled_from(["name", "folder", r"c(?P<camera>\d)"])),
    fuzz(adaptation.camera_text, camera=st.sampled_from([None, float("nan"), 3, 3.0, "3", np.int64(3), "gate"])),
    fuzz(adaptation.find_adaptation, adaptation=st.builds(made), model=None),
    fuzz(adaptation.Adaptation.save, self=st.builds(made), path=st.builds(lambda: folder() / "a.safetensors")),
    fuzz(adaptation.Adaptation.load.__func__, all=st.builds(lambda: {
        "cls": adaptation.Adaptation, "source": made().save(folder() / "whole.adaptation")})),
    fuzz(inputs.in_rgb, images=CROPS, order="bgr"),
    fuzz(inputs.walk, images=CROPS),
    fuzz(inputs.image_name, image=st.sampled_from([Path("a.jpg"), "b.jpg"]), position=st.integers(0, 9)),
    fuzz(inputs.load_image, image=st.one_of(files(".png"), st.just(image()))),
    fuzz(embedding_file.save_embeddings, path=files(".safetensors"), embeddings=embeddings(n=2), names=["a", "b"]),
    fuzz(storage.load_embeddings, path=files(".safetensors")),
    fuzz(storage.iter_embeddings, path=files(".safetensors")),
    fuzz(storage.images_root, path=files(".safetensors")),
    fuzz(embedding_file.root_of, names=["a.jpg", "/b.jpg"], root="."),
    fuzz(embedding_file.read_facts, path=files(".safetensors")),
    fuzz(embedding_file.read_file, path=files(".safetensors")),
    fuzz(tracklets.Tracklet),
    fuzz(tracklets.Tracklet.add, self=st.builds(tracklets.Tracklet), embeddings=embeddings()),
    fuzz(tracklets.merge_tracklet, embeddings=embeddings()),
    fuzz(tracklets.merge_tracklets, embeddings=embeddings(n=3), tracks=["a", 2, "a"]),
    fuzz(track_names.track_key, track=NAMES),
    fuzz(merging.SlotSums.mean, self=SUMS, like=embeddings(n=1)),
    fuzz(runners.swap_sides, embeddings=embeddings()),
    fuzz(runners.merge_mirrored, output=OUTPUT, mirrored=OUTPUT),
    fuzz(boxes.read_boxes, path=files(".csv"), form=st.sampled_from([None, "xyxy", "xywh"]), first_frame=0,
         person_classes=None, on_error=lambda message: None, format=st.sampled_from([None, "csv"]),
         frames=st.builds(frames), each=st.booleans()),
    fuzz(boxes.boxes_of, results=st.just([RESULT, RESULT]), each=st.booleans(), person_classes=None,
         on_error=lambda message: None),
    fuzz(track_boxes.TrackBoxes, all=TABLE.map(lambda made: {
        "frames": made.frames, "tracks": made.tracks, "corners": made.corners, "names": made.names})),
    fuzz(track_boxes.TrackBoxes.only, self=TABLE, rows=[0, 1]),
    fuzz(frame_folder.FrameFolder.open.__func__, all=frame_folders().map(lambda path: {
        "cls": frame_folder.FrameFolder, "path": path, "fps": 2.0, "first": 0, "in_order": True})),
    fuzz(frame_folder.FrameFolder.seconds, number=3, self=frame_folder.FrameFolder(Path(), (), (), 2.0)),
    fuzz(frame_folder.video_name, path=st.builds(frames)),
    fuzz(frame_folder.video_path, path=st.builds(frames)),
    fuzz(track_boxes.TrackBoxes.rows, self=TABLE, frame=st.integers(0, 3)),
    fuzz(track_boxes.TrackBoxes.spans, self=TABLE),
    fuzz(track_boxes.TrackBoxes.every, self=TABLE, step=st.integers(1, 3)),
    fuzz(video_tracks.BestCrops, folder=st.builds(folder)),
    fuzz(video_tracks.BestCrops.add, self=st.builds(lambda: video_tracks.BestCrops(folder())), track="7",
         pixels=st.builds(image), embeddings=embeddings(n=1)),
    fuzz(video.iter_frames, path=st.builds(frames), every=1, on_error=lambda message: None),
    fuzz(crops.crop_boxes, frame=st.builds(image), boxes=BOXES),
    fuzz(crops.try_boxes, frame=st.builds(image), boxes=BOXES),
    fuzz(crops.check_corners, boxes=BOXES, width=60, height=40),
    fuzz(crops.are_fractions, corners=np.array([[0.1, 0.2, 0.3, 1.0], [1.0, 1.0, 30.0, 80.0]])),
    fuzz(crops.tell_unseen, problems=st.just({}), others=st.integers(0, 3), raised=st.booleans()),
    fuzz(crops.with_unseen, seen=embeddings(n=2), unseen=[1, 3]),
    fuzz(video_tracks.open_frames, video=st.builds(frames), boxes=TABLE, fps=2.0, in_order=True),
    fuzz(video_tracks.embed_video, extractor=EXTRACTOR, frames=st.builds(frames), boxes=TABLE, every=1,
         crops=st.builds(folder), on_error=lambda message: None),
    fuzz(many.embed_to_file, extractor=EXTRACTOR, images=files(".png").map(lambda path: [path]),
         out=st.builds(lambda: folder() / "many.safetensors"), skip_damaged=st.booleans()),
    fuzz(many.embed_to_folder, extractor=EXTRACTOR, images=files(".png").map(lambda path: [path]),
         out=st.builds(lambda: folder() / f"shards{next(FOLDERS)}"), shard_size=1, file_type="safetensors",
         part=(1, 1), skip_damaged=st.booleans()),
    fuzz(detections.embed_detections, extractor=EXTRACTOR, frames=st.builds(frames), boxes=EACH, every=1,
         on_error=lambda message: None),
    fuzz(video_tracks.embed_tracks, extractor=EXTRACTOR, frames=FRAMES, boxes=TABLE),
    fuzz(build.build_network, config=MODEL, num_identities=st.integers(1, 3)),
    fuzz(checkpoint.load_checkpoint, source=checkpoints(), overrides=st.just(["visibility=continuous"])),
    fuzz(checkpoint.save_checkpoint, folder=checkpoints(),
         checkpoint=st.builds(lambda: checkpoint.Checkpoint(network(), SIZE))),
    fuzz(official.load_official, right=False, path=files(".pth")),
    fuzz(build.build_fitting, config=MODEL, num_identities=2, source="a file",
         shapes=st.builds(lambda: {key: tuple(value.shape) for key, value in network().state_dict().items()})),
    fuzz(checkpoint.find_checkpoint, source=checkpoints()),
    fuzz(checkpoint.read_metrics, source=checkpoints()),
    fuzz(weights.read_state_dict, path=files(".pth")),
    fuzz(weights.tensor_shapes, path=files(".safetensors")),
    fuzz(json_files.read_json, path=files(".json")),
    fuzz(json_files.parse_json, text=st.sampled_from(['{"a": 1}', b"[1.5]"]), source="a text"),
]  # fmt: skip
