"""Tables 1 to 5 of the paper, and the options beyond it, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from partreid.errors import ConfigError, nearest
from partreid.experiments.rows import Claim, Comparison, Experiment, PaperScore, Row

_REGIONS = {"g": "global_", "f": "foreground", "c": "concat", "p": "parts"}


def loss_weights(identity: str, triplet: str) -> tuple[str, ...]:
    """Weight 1 on the embeddings that the letters g, f, c, p name, 0 on the others: a row of Table 4."""
    return tuple(
        f"objective.gilt.{kind}.{region}={int(letter in letters)}"
        for kind, letters in (("identity", identity), ("triplet", triplet))
        for letter, region in _REGIONS.items()
    )


_GILT = loss_weights("gfc", "p")
_FIELDS = ("model.attention=fields", *_GILT)
BPBREID = Row("BPBReID", "bpbreid", _GILT, paper=PaperScore(66.7, 54.1))
_BASELINE = ("model.attention=none", "model.foreground_embedding=bn", "model.normalize_embeddings=true")
_BOT = Row("BoT baseline", "bot", (*_BASELINE, *loss_weights("g", "g")), paper=PaperScore(51.4, 44.7))


def _table2() -> Experiment:
    rows = (
        _BOT,
        BPBREID,
        Row(
            "w/o learnable attention",
            "fixed-attention",
            ("model.attention=fixed", *_GILT),
            paper=PaperScore(51.6, 39.2),
        ),
        Row("w/o visibility scores", "bpbreid", _GILT, Comparison(visibility="ignore"), PaperScore(52.6, 45.3)),
        Row(
            "w/o part-averaged triplet loss",
            "per-part-triplet",
            (*_GILT, "objective.gilt.part_triplet=per_part"),
            paper=PaperScore(64.8, 51.7),
        ),
        Row("ours: pose fields as attention, no softmax", "fields", _FIELDS),
        Row("ours: the same, w/o visibility scores", "fields", _FIELDS, Comparison(visibility="ignore")),
    )
    claims = tuple(Claim("BPBReID", row.name) for row in rows if row.paper and row.name != "BPBReID")
    note = (
        "Fixed attention, and ours, need a label file for every test image too; a part counts as visible where its "
        "pose fields exceed λ_v, as their softmax never does."
    )
    return Experiment("table2", "Components of BPBReID", rows, claims, notes=(note,))


def _table3() -> Experiment:
    paper = {
        "f_g": ("global", 60.2, 47.5),
        "f_f": ("foreground", 64.1, 49.7),
        "f_c": ("concat", 64.4, 50.3),
        "f_1 (head)": ("head", 47.1, 24.7),
        "f_2 (torso)": ("torso", 52.0, 31.7),
        "f_3 (left arm)": ("left_arm", 55.7, 34.4),
        "f_4 (right arm)": ("right_arm", 56.7, 34.1),
        "f_5 (legs)": ("legs", 22.3, 13.3),
        "f_6 (feet)": ("feet", 16.1, 9.0),
        "{f_1, ..., f_6}": ("parts", 65.9, 52.2),
        "{f_f, f_1, ..., f_6}": ("foreground + parts", 66.1, 52.5),
    }
    overrides = (*_GILT, "model.parts=six_new")
    rows = tuple(
        Row(name, "k6", overrides, Comparison(embedding), PaperScore(*scores))
        for name, (embedding, *scores) in paper.items()
    )
    claims = tuple(Claim(rows[-1].name, row.name) for row in rows[:-1])
    note = "Where a part is invisible in a query, that part alone ranks nothing: the query counts all the same."
    return Experiment("table3", "Each embedding alone, K = 6", rows, claims, notes=(note,))


_LOSSES = {
    "GiLt": ("gfc", "p", (66.7, 54.1), (54.6, 46.3)),
    "PCB": ("p", "", (57.2, 43.2), (51.2, 40.8)),
    "1": ("p", "gfc", (52.9, 43.2), (50.2, 40.9)),
    "2": ("gfcp", "gfcp", (59.5, 48.2), (51.1, 42.8)),
    "3": ("gfcp", "", (61.5, 49.5), (52.1, 44.8)),
    "4": ("", "gfcp", (53.9, 41.9), (45.5, 37.6)),
    "5": ("gfcp", "p", (61.8, 49.4), (51.0, 43.5)),
    "6": ("gf", "p", (65.5, 51.4), (52.9, 43.5)),
    "7": ("gc", "p", (56.5, 41.9), None),
    "8": ("fc", "p", (64.0, 52.9), (56.2, 46.2)),
    "9": ("gfc", "fc", (66.2, 53.3), (55.9, 46.1)),
    "10": ("gfc", "fc", (63.6, 52.2), None),
    "11": ("gfc", "gc", (64.0, 52.4), (54.8, 45.9)),
    "12": ("gfc", "c", (65.3, 52.9), (54.4, 45.7)),
}
"""Rows of Table 4: identity loss on, triplet loss on, BPBReID's and PCB's scores."""


def _table4() -> Experiment:
    rows, claims = [], []
    for index, (identity, triplet, bpbreid, _) in _LOSSES.items():
        run = "bpbreid" if index == "GiLt" else f"losses-{_letters(identity, triplet)}"
        name = _loss_name("BPBReID", index)
        rows.append(Row(name, run, loss_weights(identity, triplet), paper=PaperScore(*bpbreid)))
        if index != "GiLt":
            claims.append(Claim(rows[0].name, name))
    for index, (identity, triplet, _, pcb) in _LOSSES.items():
        if pcb is None:
            continue
        # PCB has no foreground: rows that differ in nothing else are one training.
        kept_id, kept_tri = identity.replace("f", ""), triplet.replace("f", "")
        overrides = ("model.attention=stripes", *loss_weights(kept_id, kept_tri))
        run = f"pcb-{_letters(kept_id, kept_tri)}"
        rows.append(Row(_loss_name("PCB", index), run, overrides, paper=PaperScore(*pcb)))
        claims.append(Claim(_loss_name("BPBReID", index), _loss_name("PCB", index)))
    notes = (
        "Rows 9 and 10 are printed alike in the paper, with different figures: one training stands for both.",
        "PCB has no foreground embedding: its column ignores f, and rows 7 and 10 would repeat others.",
    )
    return Experiment("table4", "Which loss on which embedding", tuple(rows), tuple(claims), notes=notes)


def _letters(identity: str, triplet: str) -> str:
    return f"id-{identity or 'none'}-tri-{triplet or 'none'}"


def _loss_name(model: str, index: str) -> str:
    identity, triplet, *_ = _LOSSES[index]
    return f"{model} {index}: id {identity or '–'}, triplet {triplet or '–'}"


def _table5() -> Experiment:
    paper = {
        2: ("two_v", 58.3, 49.0),
        3: ("three_v", 63.0, 52.0),
        4: ("four", 64.3, 52.9),
        5: ("five", 65.0, 53.3),
        6: ("six_new", 66.1, 52.5),
        8: ("eight", 66.7, 54.1),
        11: ("eleven", 66.5, 52.9),
    }
    rows = tuple(
        Row(f"K = {k}", f"k{k}", (*_GILT, f"model.parts={schema}"), paper=PaperScore(*scores))
        for k, (schema, *scores) in paper.items()
    )
    claims = tuple(Claim("K = 8", row.name) for row in rows if row.name != "K = 8")
    return Experiment("table5", "The number of parts K", rows, claims)


_SETS = ("Market-1501", "DukeMTMC-reID", "Occluded-Duke", "Occluded-REID", "P-DukeMTMC-reID")
_TABLE1 = {
    "BoT": ((94.5, 85.9), (86.4, 76.4), (51.4, 44.7), (58.4, 52.3), (87.0, 74.9)),
    "BPBReID_RN": ((95.1, 87.0), (89.6, 78.3), (66.7, 54.1), (76.9, 68.6), (91.0, 77.8)),
    "BPBReID_RI": ((95.7, 88.4), (91.7, 81.3), (71.3, 57.5), (77.0, 70.9), (91.3, 79.2)),
    "BPBReID_HR": ((95.7, 89.4), (92.4, 84.2), (75.1, 62.5), (82.9, 75.2), (93.0, 83.2)),
}
"""Table 1, ours and the baseline: rank-1 and mAP by model on the sets above."""

_LARGER = {"BPBReID_RI": "resnet50_ibn_a", "BPBReID_HR": "hrnet_w32"}


def table1(datasets: Sequence[str], weights: Mapping[str, str]) -> Experiment:
    """Table 1 on some data sets.

    Args:
        datasets: their names, as in ``ReIDDataset.name``; a set that the paper does not have gets no figures of it.
        weights: ImageNet file by backbone. The rows of ResNet-50-IBN-a and HRNet-W32 are there if theirs is given.

    Raises:
        ConfigError: weights are given for a backbone of no such row.
    """
    if wrong := [backbone for backbone in weights if backbone not in _LARGER.values()]:
        raise ConfigError(
            f"table1 takes weights for {' and '.join(_LARGER.values())}, got {', '.join(wrong)}. Those of the other "
            "rows are chosen with --set pretrained=FILE."
        )
    rows, claims = [], []
    for name in datasets:
        parts = ("model.parts=five",) if name in _SETS[:2] else ()  # on holistic sets the paper takes K = 5 (§4.2)
        paper = {
            model: PaperScore(*scores[_SETS.index(name)]) if name in _SETS else None
            for model, scores in _TABLE1.items()
        }
        bpbreid = f"BPBReID_RN, {name}"
        rows += [
            Row(f"BoT, {name}", f"bot-{name}", _BOT.overrides, paper=paper["BoT"], data=name),
            Row(bpbreid, f"bpbreid-{name}", (*_GILT, *parts), paper=paper["BPBReID_RN"], data=name),
        ]
        claims.append(Claim(bpbreid, f"BoT, {name}"))
        for model, backbone in _LARGER.items():
            if backbone in weights:
                size = ("preprocess.height=384", "preprocess.width=128")
                network = (f"model.backbone={backbone}", *size, f"pretrained={weights[backbone]}")
                overrides = (*_GILT, *parts, *network)
                rows.append(Row(f"{model}, {name}", f"{backbone}-{name}", overrides, paper=paper[model], data=name))
                claims.append(Claim(f"{model}, {name}", bpbreid))
    left_out = [model for model, backbone in _LARGER.items() if backbone not in weights]
    notes = [f"{model} was not run: give its ImageNet file, --weights {_LARGER[model]}=FILE." for model in left_out]
    return Experiment(
        "table1", "Comparison on all data sets", tuple(rows), tuple(claims), data="the sets named", notes=tuple(notes)
    )


def _options() -> Experiment:
    pasted = (*_GILT, "augment.paste_probability=0.5")
    person, box = ((*pasted, f"augment.pasting.people={people}") for people in (1, 0))
    flip = (*_GILT, "augment.flip_probability=0.5")
    rows = (
        Row("as in the paper", "bpbreid", _GILT),
        Row("flip in training", "flip", flip),
        Row("flip at test", "bpbreid", _GILT, Comparison(mirror=True)),
        Row("flip in training and at test", "flip", flip, Comparison(mirror=True)),
        Row("people pasted in training", "paste-people", person),
        Row("boxes pasted in training", "paste-boxes", box),
        *(
            Row(
                f"visible parts only in the triplet ({by})",
                f"visible-{by}",
                (*_GILT, f"objective.gilt.triplet_visibility={by}"),
            )
            for by in ("model", "labels")
        ),
        Row("continuous visibility, v_q·v_g", "bpbreid", _GILT, Comparison(continuous=True)),
        Row("continuous visibility, √(v_q·v_g)", "bpbreid", _GILT, Comparison(visibility="geometric", continuous=True)),
        Row("vectors divided by their length", "bpbreid", _GILT, Comparison(normalize=True)),
        Row("k-reciprocal re-ranking", "bpbreid", _GILT, Comparison(rerank=True)),
        Row("people pasted, without visibility", "paste-people", person, Comparison(visibility="ignore")),
    )
    claims = tuple(Claim(row.name, rows[0].name) for row in rows[1:])
    note = "A claim here says that the option helps."
    return Experiment("options", "Beyond the paper", rows, claims, data="no table of the paper", notes=(note,))


EXPERIMENTS: dict[str, Experiment] = {e.name: e for e in (_table2(), _table3(), _table4(), _table5(), _options())}
"""Every experiment on one data set by its name on the command line."""

TABLE1 = "table1"
NAMES = (TABLE1, *EXPERIMENTS)


def find_experiments(
    names: Sequence[str], datasets: Sequence[str], weights: Mapping[str, str] | None = None
) -> list[Experiment]:
    """Experiments by their names, each once; ``datasets`` and ``weights`` as for :func:`table1`.

    Raises:
        ConfigError: there is no such experiment, or as :func:`table1`.
    """
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"Unknown experiment {name!r}. {nearest(name, NAMES)}")
    return [table1(datasets, weights or {}) if name == TABLE1 else EXPERIMENTS[name] for name in dict.fromkeys(names)]
