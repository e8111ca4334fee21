"""Network files made to do harm, or damaged so: a typed error at once, whatever sizes and depths a file claims."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from partreid.errors import CheckpointError, PartReIDError
from partreid.models.backbones import build_backbone
from tests.models.network_files import OnnxNet, random, tiny_onnx, tiny_openvino

HUGE = 10**9
SECONDS = 10
"""Of the processor, which other programs do not lengthen."""


@pytest.fixture
def little_memory() -> Iterator[None]:
    """1 GiB more than there is now: whoever makes what a file claims fails, and not only slowly."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(name: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(PartReIDError, match=message) as caught:
        build_backbone(name)
    assert time.process_time() - start < SECONDS
    assert len(str(caught.value)) < 1500, "a name of the file is told in part"


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What PyTorch loads when the first sizes are asked for counts for no file."""
    folder = tmp_path_factory.mktemp("first")
    build_backbone(f"onnx/{tiny_onnx(folder / 'a.onnx')}")
    build_backbone(f"openvino/{tiny_openvino(folder / 'a.xml')}")


Change = Callable[[onnx.ModelProto], object]


def node(model: onnx.ModelProto, kind: str) -> Any:
    return next(one for one in model.graph.node if one.op_type == kind)


def attribute(kind: str, name: str, value: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        one = node(model, kind)
        kept = [a for a in one.attribute if a.name != name]
        del one.attribute[:]
        one.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def weight(name: str, **fields: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        for field, value in fields.items():
            if isinstance(value, list):
                del getattr(tensor, field)[:]
                getattr(tensor, field).extend(value)
            else:
                setattr(tensor, field, value)

    return change


def beside(location: str, **told: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == "w0")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **told}.items():
            tensor.external_data.add(key=key, value=value)

    return change


def appended(kind: str, *inputs: Any, opset: int = 17, **attributes: Any) -> Change:
    """The network with this behind its first convolution."""

    def change(model: onnx.ModelProto) -> None:
        net = OnnxNet()
        made = net(kind, "first", *(net.weight(np.asarray(one), f"h{i}") for i, one in enumerate(inputs)), **attributes)
        del made
        conv = node(model, "Conv")
        net.nodes[0].output[0], conv.output[0] = conv.output[0], "first"
        model.graph.node.extend(net.nodes)
        model.graph.initializer.extend(net.weights)

    return change


def many(number: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        last = model.graph.output[0].name
        for i in range(number):
            model.graph.node.append(helper.make_node("Relu", [last], [f"n{i}"]))
            last = f"n{i}"
        model.graph.output[0].name = last

    return change


def lists(model: onnx.ModelProto) -> None:
    """Lists of numbers that double with every node."""
    net = OnnxNet()
    x = net("Shape", "images", name="shape")
    for i in range(40):
        x = net("Concat", x, x, axis=0, name=f"double{i}")
    net("Reshape", "first", x, name="reshaped")
    conv = node(model, "Conv")
    net.nodes[-1].output[0], conv.output[0] = conv.output[0], "first"
    model.graph.node.extend(net.nodes)


def powers(model: onnx.ModelProto) -> None:
    """Whole numbers whose digits double with every node."""
    net = OnnxNet()
    x = net("Shape", "images", name="shape")
    for i in range(60):
        x = net("Mul", x, x, name=f"square{i}")
    net("Reshape", "first", x, name="reshaped")
    conv = node(model, "Conv")
    net.nodes[-1].output[0], conv.output[0] = conv.output[0], "first"
    model.graph.node.extend(net.nodes)


def rows(model: onnx.ModelProto) -> None:
    """Rows of numbers, which Python would repeat where a file multiplies them."""
    net = OnnxNet()
    x = net("Reshape", net("Shape", "images", name="shape"), np.array([-1, 2]), name="rows")
    net("Reshape", "first", net("Mul", x, net.weight(np.array(HUGE), "huge"), name="many"), name="reshaped")
    conv = node(model, "Conv")
    net.nodes[-1].output[0], conv.output[0] = conv.output[0], "first"
    model.graph.node.extend(net.nodes)
    model.graph.initializer.extend(tensor for tensor in net.weights if tensor.name == "huge")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 2]), "pairs"))
    model.graph.node[-3].input[1] = "pairs"


def subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    node(model, "Relu").attribute.append(helper.make_attribute("then_branch", inner))


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="own").input.append("x")


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().dims.append(3)


def rewired(model: onnx.ModelProto) -> None:
    node(model, "Conv").input[0] = node(model, "Gemm").output[0]


def again(model: onnx.ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def numbers(value: float) -> Change:
    return weight("w0", raw_data=np.full((4, 3, 3, 3), value, np.float32).tobytes())


def inputs(*sizes: Any, kind: int = TensorProto.FLOAT, number: int = 1) -> Change:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.input[:]
        names = ["images", *(f"further{i}" for i in range(1, number))][:number]
        model.graph.input.extend(helper.make_tensor_value_info(name, kind, sizes) for name in names)

    return change


ONNX: dict[str, tuple[Change, str]] = {
    "a shape of more than there is": (weight("w0", dims=[4, 3, 3, 300]), "needs 43200 bytes, the file has 432"),
    "10^9 numbers": (weight("w0", dims=[HUGE, 3, 3, 3]), "has the shape|needs 108000000000 bytes"),
    "a product beyond 64 bits": (weight("w0", dims=[2**62, 4, 1, 1]), "has the shape"),
    "a negative shape": (weight("w0", dims=[-4, 3, 3, -3]), r"has the shape \[-4, 3, 3, -3\]"),
    "zeros in a shape": (weight("w0", dims=[0, 3, 3, 3], raw_data=b""), "weights 'w0' are empty"),
    "very many axes": (weight("w0", dims=[1] * 100_000), "a list of more than 8"),
    "no data": (weight("w0", raw_data=b""), "needs 432 bytes, the file has 0"),
    "text": (weight("w0", data_type=TensorProto.STRING), "of the type string"),
    "an unknown type": (weight("w0", data_type=999), "of the type 999"),
    "NaN": (numbers(float("nan")), "'w0' holds numbers that are NaN or infinite"),
    "infinite": (numbers(float("inf")), "'w0' holds numbers that are NaN or infinite"),
    "zeros": (numbers(0.0), "'w0' are zeros only"),
    "10^9 strides": (attribute("Conv", "strides", [HUGE, HUGE]), r"strides = \[1000000000, 1000000000\]"),
    "stride 0": (attribute("Conv", "strides", [0, 1]), r"strides = \[0, 1\]"),
    "stride 2^63": (attribute("Conv", "strides", [2**63 - 1, 1]), "strides ="),
    "10^9 padding": (attribute("Conv", "pads", [HUGE] * 4), "would have|fails"),
    "uneven 10^9 padding": (attribute("Conv", "pads", [HUGE, 0, 0, 0]), "would have|fails"),
    "negative padding": (attribute("Conv", "pads", [-1, 0, 0, 0]), r"pads = \[-1"),
    "three paddings": (attribute("Conv", "pads", [1, 1, 1]), "padding of 3 numbers"),
    "10^9 dilation": (attribute("Conv", "dilations", [HUGE] * 2), "dilations ="),
    "10^9 groups": (attribute("Conv", "group", HUGE), "fails"),
    "no groups": (attribute("Conv", "group", 0), "group = 0"),
    "10^9 kernel": (appended("MaxPool", kernel_shape=[HUGE] * 2), "kernel_shape ="),
    "10^9 kernel of a mean": (appended("AveragePool", kernel_shape=[HUGE] * 2, pads=[HUGE // 2] * 4), "kernel_shape ="),
    "three kernels": (appended("MaxPool", kernel_shape=[2, 2, 2]), "fails"),
    "10^9 times": (appended("Expand", [HUGE, 1, 1, 1, 1]), "would have"),
    "10^18 times": (appended("Expand", [HUGE, HUGE, 1, 1, 1, 1]), "would have|fails"),
    "Pad 10^9": (appended("Pad", [0, 0, HUGE, HUGE, 0, 0, 0, 0]), "would have|fails"),
    "reflect 10^9": (appended("Pad", [0, 0, HUGE, 0, 0, 0, 0, 0], mode="reflect"), "fails"),
    "edge 10^9": (appended("Pad", [0, 0, HUGE, 0, 0, 0, 0, HUGE], mode="edge"), "would have|fails"),
    "Resize 10^9": (appended("Resize", np.zeros(0, np.float32), np.float32([1, 1, HUGE, HUGE])), "at most 65536"),
    "Resize 10^30": (appended("Resize", np.zeros(0, np.float32), np.float32([1, 1, 1e30, 1])), "at most 65536"),
    "Resize 0": (appended("Resize", np.zeros(0, np.float32), np.float32([1, 1, 0, 1])), "at most 65536"),
    "Resize -1": (appended("Resize", *[np.zeros(0, np.float32)] * 2, [1, 4, -1, 4]), "expected a map and"),
    "reshape 10^9": (appended("Reshape", [HUGE, HUGE]), "fails"),
    "reshape to nothing": (appended("Reshape", [0, 0, 0, 0, -1]), "fails"),
    "transpose": (appended("Transpose", perm=[0, 7, 1, 1]), "fails"),
    "gather": (appended("Gather", [HUGE], axis=1), "there is no place 1000000000 among 4"),
    "gather along": (appended("Gather", [0], axis=HUGE), "fails"),
    "slice to nothing": (appended("Slice", [5], [5], [2]), "would have 0 numbers"),
    "slice along": (appended("Slice", [0], [5], [-9]), "there is no axis -5"),
    "unsqueeze": (appended("Unsqueeze", [HUGE]), "fails"),
    "split": (appended("Split", [HUGE, -HUGE], axis=1), "fails"),
    "softmax": (appended("Softmax", axis=HUGE), "fails"),
    "flatten": (appended("Flatten", axis=-HUGE), "fails|is no|would|has no"),
    "statistics of other channels": (weight("w4", dims=[2], raw_data=random(2).tobytes()), "expected 4 numbers each"),
    "groups of 0": (appended("InstanceNormalization", np.float32([1]), np.float32([1, 2, 3])), "fails"),
    "lists that double": (lists, "a list of .* numbers; at most 1024"),
    "numbers that square": (powers, "more than 64 bits"),
    "rows of numbers": (rows, "arithmetic with rows of numbers"),
    "a table": (appended("Gather", np.zeros((64, 64), np.int64), axis=1), "is a table of numbers"),
    "a long list": (appended("Gather", np.zeros(10_000, np.int64), axis=1), "is a table of numbers"),
    "a cycle": (rewired, "the graph has a cycle"),
    "an answer that nothing gives": (lambda m: setattr(m.graph.output[0], "name", "none"), "nothing gives .* 'none'"),
    "an input that nothing gives": (lambda m: node(m, "Relu").input.__setitem__(0, "none"), "nothing gives .* 'none'"),
    "no inputs": (lambda m: node(m, "Relu").ClearField("input"), "fails"),
    "two of a name": (again, "two things are named"),
    "two weights of a name": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two things are named"),
    "a node with a weight's name": (lambda m: node(m, "Relu").output.__setitem__(0, "w0"), "two things are named 'w0'"),
    "a name with NUL": (lambda m: node(m, "Relu").output.__setitem__(0, "a\0b"), "holds a NUL"),
    "a long name": (lambda m: node(m, "Relu").output.__setitem__(0, "a" * 10**6), "a name of 1000000 bytes"),
    "an unknown operation": (lambda m: setattr(node(m, "Relu"), "op_type", "Nothing"), "'Nothing' 'stage1': it is not"),
    "a long operation": (lambda m: setattr(node(m, "Relu"), "op_type", "R" * 60_000), "it is not supported"),
    "a domain": (lambda m: setattr(node(m, "Relu"), "domain", "evil"), "of the domain 'evil'"),
    "an attribute": (attribute("Relu", "evil", 1), "its attribute 'evil' is not supported"),
    "a subgraph": (subgraph, "'then_branch' is a graph of its own"),
    "a function": (function, "it has functions of its own"),
    "a sparse tensor": (sparse, "sparse weights"),
    "20001 nodes": (many(20_001), "at most 20000 operations are allowed"),
    "300000 operations": (many(300_000), "at most 20000 operations are allowed"),
    "two inputs": (inputs(1, 3, 64, 32, number=2), "expected one input, images; got 'images', 'further1'"),
    "no input": (inputs(number=0), "expected one input, images; got none"),
    "two outputs": (lambda m: m.graph.output.add(name="stage1"), "expected one output, .* got '.*', 'stage1'"),
    "bytes": (inputs(1, 3, 64, 32, kind=TensorProto.UINT8), "images of floating-point numbers"),
    "one channel": (inputs(1, 1, 64, 32), r"expected images \[N, 3, H, W\], got \[1, 1, 64, 32\]"),
    "three axes": (inputs(3, 64, 32), r"got \[3, 64, 32\]"),
    "very many sizes": (inputs(*[1] * 10_000), "got"),
    "10^9 high": (inputs(1, 3, HUGE, 32), "images of the size"),
    "none high": (inputs(1, 3, 0, 32), "images of the size"),
    "seven images": (inputs(7, 3, 64, 32), "made for 7 images at a time"),
    "small": (inputs(1, 3, 1, 1), "is 1×1|fails|has no"),
    "beside: absolute": (beside("/etc/passwd"), "'/etc/passwd', which is not in the file's folder"),
    "beside: above": (beside("../secret.bin"), "which is not in the file's folder"),
    "beside: within and above": (beside("a/../../secret.bin"), "which is not in the file's folder"),
    "beside: backslashes": (beside("..\\secret.bin"), "which is not in the file's folder"),
    "beside: a link": (beside("link.bin"), "a link out of the file's folder"),
    "beside: a linked folder": (beside("folder/secret.bin"), "a link out of the file's folder"),
    "beside: a pipe": (beside("pipe"), "there is no such file"),
    "beside: none": (beside("none.bin"), "there is no such file"),
    "beside: no name": (beside(""), "which is not in the file's folder"),
    "beside: a folder": (beside("."), "there is no such file"),
    "beside: a long name": (beside("a" * 5000), "cannot be read"),
    "beside: behind the end": (beside("data.bin", offset="100"), "needs 432 bytes, the file has 332"),
    "beside: far behind the end": (beside("data.bin", offset=str(2**62)), "needs 432 bytes, the file has 0"),
    "beside: negative": (beside("data.bin", offset="-100"), "needs 432 bytes, the file has 0"),
    "beside: too long": (beside("data.bin", length=str(HUGE)), "needs 432 bytes"),
    "beside: no number": (beside("data.bin", offset="1e9"), "cannot be read as an ONNX network: invalid literal"),
    "beside: many digits": (beside("data.bin", offset="9" * 10_000), "cannot be read as an ONNX network"),
    "beside: NaN": (beside("nan.bin"), "NaN or infinite"),
}  # fmt: skip


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("case", ONNX)
def test_absurd_onnx_files(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(random(108).tobytes())
    (folder / "data.bin").write_bytes(random(108).tobytes())
    (folder / "nan.bin").write_bytes(np.full(108, np.nan, np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    change, message = ONNX[case]
    model = onnx.load(tiny_onnx(folder / "a.onnx", (1, 3, 64, 32)))
    change(model)
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    refused(f"onnx/{folder / 'a.onnx'}", message)


BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "file of 0 bytes"),
    "text": (b"Not a network at all, but quite some text.", "cannot be read as an ONNX network"),
    "a pickle": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00", "cannot be read as an ONNX network"),
    "no graph": (b"\x08\x0a", "it holds no graph"),
    "length 2^62": (b"\x08\x0a\x3a" + b"\xff" * 8 + b"\x3f", "it ends within a field"),
    "a number without end": (b"\xff" * 100, "ends within a number"),
    "two graphs": (b"\x08\x0a\x3a\x00\x3a\x00", "field 7 is there twice"),
    "an empty graph": (b"\x08\x0a\x3a\x00\x42\x02\x10\x11", "expected one input"),
    "a million empty nodes": (
        b"\x08\x0a\x3a\xa0\xa5\x7b" + b"\x0a\x00" * 1_010_000,
        "has more than 1000000 entries",
    ),
    "no UTF-8": (b"\x08\x0a\x3a\x04\x2a\x02\x42\x00\x42\x05\x0a\x01\xff\x10\x11", "cannot be read as an ONNX network"),
    "nested": (b"\x3a\x7f" * 10_000, "cannot be read as an ONNX network"),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_onnx_file(case: str, tmp_path: Path) -> None:
    content, message = BYTES[case]
    (tmp_path / "a.onnx").write_bytes(content)
    refused(f"onnx/{tmp_path / 'a.onnx'}", message)


def text(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    def change(xml: str) -> str:
        assert re.search(old, xml), old
        return re.sub(old, lambda found: new, xml, count=count)

    return change


CONV = r'(?<=<data strides=")2, 2(?=" dilations="1, 1" pads_begin="1, 1")'
LAYER = '<layer id="9000" name="a" type="ReLU" version="opset1"><input><port id="0"/></input></layer>'
LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'

XML: dict[str, tuple[Callable[[str], str], str]] = {
    "cut off": (lambda x: x[: len(x) // 2], "cannot be read as an OpenVINO network"),
    "empty": (lambda x: "", "cannot be read as an OpenVINO network"),
    "no network": (lambda x: "<a/>", "expected <net> with"),
    "no layers": (lambda x: "<net/>", "expected <net> with"),
    "a document type": (lambda x: x.replace("?>", "?>" + LAUGHS, 1), "declares a document type"),
    "deep": (lambda x: "<net>" + "<a>" * 200_000, "or more than 50 within each other"),
    "many elements": (lambda x: "<net>" + "<a/>" * 310_000 + "</net>", "more than 300000 elements"),
    "a long attribute": (text(CONV, "2, " * 1_000_000), "an attribute of 3000000 characters"),
    "many digits": (text(CONV, "9" * 1_900), "strides ="),
    "no digits": (text(CONV, "two"), "invalid literal"),
    "stride 10^9": (text(CONV, "1000000000, 1000000000"), r"strides = \[1000000000, 1000000000\]"),
    "stride 0": (text(CONV, "0, 2"), r"strides = \[0, 2\]"),
    "padding 10^9": (text('pads_begin="1, 1"', 'pads_begin="1000000000, 1000000000"'), "would have|fails"),
    "a negative padding": (text('pads_begin="1, 1"', 'pads_begin="-1, 1"'), r"pads_begin = \[-1, 1\]"),
    "a shape that lies": (text('shape="4, 3, 3, 3"', 'shape="4, 3, 3, 300"'), "claims 432 bytes"),
    "a shape beyond 64 bits": (text('shape="4, 3, 3, 3"', f'shape="{2**62}, {2**62}, 3, 3"'), "claims 432 bytes"),
    "a negative shape": (text('shape="4, 3, 3, 3"', 'shape="-4, -3, 3, 3"'), "claims 432 bytes"),
    "behind the end": (text('offset="0"', f'offset="{2**40}"'), "ends at byte"),
    "before the beginning": (text('offset="0"', 'offset="-4"'), "claims 432 bytes"),
    "one number, 10^12 times": (text('shape="4, 3, 3, 3" offset="0" size="432"', 'shape="1000000, 1000000" offset="0" '
                                     'size="4000000000000"'), "ends at byte 4000000000000"),
    "an unknown type of numbers": (text('element_type="f32" shape="4', 'element_type="u4" shape="4'), "type 'u4'"),
    "an unknown layer": (text('type="ReLU"', 'type="Nothing"'), "operation 'Nothing' .* is not supported"),
    "a custom layer": (text('type="ReLU" version="opset1"', 'type="ReLU" version="extension"'), "version 'extension'"),
    "a newer layer": (text('type="ReLU" version="opset1"', 'type="ReLU" version="opset99"'), "version 'opset99'"),
    "an unknown attribute": (text('pads_begin="1, 1"', 'evil="1" pads_begin="1, 1"'), "attribute 'evil' is not"),
    "no type": (text('type="ReLU"', ""), "it lacks 'type'"),
    "two layers of an id": (lambda x: x.replace("</layers>", (LAYER * 2) + "</layers>"), "have the same id"),
    "an edge to nowhere": (text('to-layer="2"', 'to-layer="9999"'), "one of them is not there"),
    "an edge to a port again": (lambda x: x.replace("<edges>", "<edges>" + edge(x)), "two edges lead to port"),
    "a missing edge": (lambda x: x.replace(edge(x), "", 1), "lacks an input|it lacks"),
    "a port of 10^9": (text('to-port="1"', 'to-port="1000000000"'), "lacks an input"),
    "a port that is not there": (text('from-port="0"', 'from-port="77"'), "has no output 77"),
    "two inputs": (lambda x: x.replace("</layers>", '<layer id="9000" name="more" type="Parameter"/></layers>'),
                   "expected one input, images; got 'images', 'more'"),
    "bytes as input": (text('shape="1,3,64,32" element_type="f32"', 'shape="1,3,64,32" element_type="u8"'), "got 'u8'"),
    "one channel": (text('shape="1,3,64,32"', 'shape="1,1,64,32"'), r"expected images \[N, 3, H, W\]"),
    "10^9 high": (text('shape="1,3,64,32"', 'shape="1,3,1000000000,32"'), "images of the size"),
    "four images": (text('shape="1,3,64,32"', 'shape="4,3,64,32"'), "made for 4 images at a time"),
}  # fmt: skip


def edge(xml: str) -> str:
    found = re.search(r"<edge [^>]*/>", xml)
    assert found
    return found[0]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("case", XML)
def test_absurd_openvino_files(case: str, tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml", (1, 3, 64, 32))
    change, message = XML[case]
    path.write_text(change(path.read_text()))
    refused(f"openvino/{path}", message)


def cycle(xml: str) -> str:
    """The first operation takes what the last one gives."""
    ids = dict(re.findall(r'<layer id="(\d+)" name="[^"]*" type="(MatMul|ReLU)"', xml))
    kinds = {kind: identity for identity, kind in ids.items()}
    return re.sub(rf'<edge from-layer="\d+" from-port="\d+" (to-layer="{kinds["ReLU"]}" to-port="0")',
                  rf'<edge from-layer="{kinds["MatMul"]}" from-port="2" \1', xml)  # fmt: skip


def test_a_cycle_of_layers(tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml")
    path.write_text(cycle(path.read_text()))
    refused(f"openvino/{path}", "the graph has a cycle")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "cp037", "latin-1"])
def test_no_encoding_hides_entities(encoding: str, tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml")
    xml = path.read_text().replace("?>", "?>" + LAUGHS, 1).replace('"1.0"', f'"1.0" encoding="{encoding}"', 1)
    path.write_bytes((xml + "<!-- ä -->").encode(encoding))
    refused(f"openvino/{path}", "cannot be read as an OpenVINO network")


def test_a_bin_that_is_missing_short_or_damaged(tmp_path: Path) -> None:
    path = tiny_openvino(tmp_path / "a.xml")
    numbers = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(numbers[: len(numbers) // 2])
    refused(f"openvino/{path}", "ends at byte")
    path.with_suffix(".bin").write_bytes(b"\xff" * len(numbers))
    refused(f"openvino/{path}", "NaN or infinite|cannot be read")
    path.with_suffix(".bin").write_bytes(b"")
    refused(f"openvino/{path}", "ends at byte")
    path.with_suffix(".bin").unlink()
    refused(f"openvino/{path}", "there is no .*a.bin")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_paths_that_are_no_files(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.onnx", "pipe", "", "a" * 300, "a\0b"):
        refused(f"{kind}/{tmp_path / name}", "There is no network file|no name that a file")


def test_claims_that_share_their_bytes(tmp_path: Path) -> None:
    """A small file whose constants all are the same numbers would fill the memory."""
    net = OnnxNet()
    x = net("Conv", "images", random(4, 3, 1, 1))
    for i in range(100):
        net.weight(np.zeros(0, np.float32), f"same{i}")
        x = net("Add", x, f"same{i}")
    model = net.proto(x, (1, 3, 8, 8))
    for tensor in model.graph.initializer[1:]:
        tensor.ClearField("raw_data")
        tensor.dims[:] = [1, 4, 512, 512]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="data.bin")
    (tmp_path / "data.bin").write_bytes(np.ones((4, 512, 512), np.float32).tobytes())
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    refused(f"onnx/{tmp_path / 'a.onnx'}", "claim more numbers than")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_anywhere_are_typed_errors_or_harmless(kind: str, seed: int, tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "a.onnx") if kind == "onnx" else tiny_openvino(tmp_path / "a.xml")
    whole = path.read_bytes()
    generator = np.random.default_rng(seed)
    for _ in range(6):
        content = bytearray(whole)
        place = int(generator.integers(len(content)))
        piece = generator.choice([b"", b"\xff" * 9, b"9" * 50, b'"', b"<", b"-", b"\x00", b"e"])
        content[place : place + int(generator.integers(1, 3))] = bytes(piece)
        path.write_bytes(content)
        try:
            backbone = build_backbone(f"{kind}/{path}")
        except PartReIDError:
            continue
        assert all(torch.isfinite(value).all() for value in backbone.state_dict().values())


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "a.onnx")
    whole = path.read_bytes()
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cannot be read as an ONNX network"):
            build_backbone(f"onnx/{path}")
