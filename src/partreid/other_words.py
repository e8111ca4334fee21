"""What other libraries call the things of this one: the right name, or line, for a word that was guessed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

OTHER_WORDS: dict[str, str] = {
    # of an extractor
    "embed": "call compute encode encode_image extract extract_features extract_embeddings features forward generate "
    "get_features get_image_features infer inference predict process run transform extract_embeddings_from_paths",
    "embed_boxes": "boxes crop detect embed_crops embed_detections get_features extract_embeddings predict",
    "stream": "embed_stream embed_many iter_embed batches",
    "save_pretrained": "save save_model write export dump save_checkpoint",
    "push_to_hub": "push upload upload_to_hub publish share",
    "source": "path model model_path model_name name checkpoint weights folder repo_id pretrained_model_name_or_path",
    "device": "device_map gpu cuda use_gpu map_location dev",
    "precision": "dtype torch_dtype half fp16 bf16 amp use_fp16",
    "mirror": "flip flip_test tta hflip augment",
    "overrides": "config opts options config_overrides cfg settings model_kwargs visibility visibility_threshold",
    "batch_size": "batch batchsize bs images_per_batch",
    "preprocess": "processor transform transforms preprocessor image_processor preprocessing input_size image_size "
    "size height width normalize",
    "fingerprint": "hash version digest id name",
    "model": "config network net backbone module cfg parameters state_dict",
    # of embeddings
    "vectors": "array data embedding embeddings features feats feat tensor values x last_hidden_state pooler_output "
    "image_embeds vector part_features embs",
    "visibility": "confidence mask masks scores visible visibilities visibility_scores weights parts_visibility "
    "attention_mask vis",
    "slots": "names parts part_names labels keys classes num_parts num_slots slot_names",
    "width": "dim dimension dims embedding_dim embedding_size feature_dim size get_sentence_embedding_dimension "
    "get_embedding_dimension d num_features output_dim",
    "numpy": "to_numpy asarray tolist to_list",
    "select": "slot part get_slot get_part",
    "normalized": "normalize l2_normalize normalise unit",
    "cat": "concat concatenate stack append extend vstack merge",
    "images": "image paths files img imgs inputs pixels pixel_values x sentences crops frames",
    "frame": "image img picture",
    "boxes": "xyxy detections bboxes dets bbox xyxys box",
    "order": "bgr rgb color channels channel_order color_order color_space mode format from_bgr bgr_to_rgb is_bgr",
    "on_error": "errors error strict skip raise_errors ignore_errors",
    # of a gallery
    "location": "path uri url folder persist_directory directory db_path root filename host collection_name",
    "search": "query find knn nearest nearest_neighbors retrieve lookup match similarity_search query_points rank "
    "most_similar search_knn",
    "add": "insert append put index enroll register add_items extend add_with_ids update store_items",
    "upsert": "replace update overwrite set put",
    "delete": "remove drop pop erase clear discard remove_ids",
    "get": "fetch item items retrieve vectors embeddings reconstruct",
    "count": "size ntotal num_items length total n",
    "known": "contains has exists",
    "records": "items ids all scroll iterate iter list dump export to_pandas to_arrow to_dict peek values",
    "verify": "check validate fsck",
    "open": "connect load create get_or_create from_folder read from_path read_index persistent_client",
    "query": "queries embedding embeddings image images vector vectors q probe query_embeddings query_vector",
    "k": "top_k topk limit n_results n num_results max_results count top n_neighbors size",
    "where": "filter filters query_filter condition conditions predicate",
    "cameras": "camera cam cams camids camid camera_ids camera_id",
    "not_cameras": "not_camera exclude_camera exclude_cameras except_camera",
    "since": "after start from_time begin min_time time_from start_time time",
    "until": "before end to_time max_time time_to end_time",
    "times": "time timestamps timestamp ts dates",
    "ids": "id names keys labels items pids",
    "not_ids": "exclude exclude_ids except_ids not_id",
    "metadata": "metadatas meta payload payloads attributes properties extra tags documents track info",
    # of what was found
    "items": "matches results hits found points documents",
    "id": "name key label path file pid",
    "distance": "score similarity dist value cosine",
    "distances": "scores similarities dist dists distmat values D",
    "part_distances": "slot_distances distances_per_part parts per_part",
    "camera": "camid cam camera_id",
    "time": "timestamp date when seen",
    "rank": "position place index order",
    # of scores and of data sets
    "mAP": "map mean_average_precision ap MAP average_precision_mean",
    "mINP": "minp mean_inp mean_inverse_negative_penalty",
    "rank1": "rank_1 top1 top_1 cmc1 r1 accuracy rank1_accuracy rank_one",
    "cmc": "curve cmc_curve ranks all_cmc",
    "summary": "to_dict as_dict dict metrics json to_json values results asdict report to_pandas items keys",
    "train_identities": "num_train_pids num_classes num_identities pids identities num_pids train_pids",
    "queries": "query_sets queryset",
    "query_pids": "q_pids query_ids query_labels q_ids query_pid qpids",
    "gallery_pids": "g_pids gallery_ids gallery_labels g_ids gallery_pid gpids",
    "query_camids": "q_camids query_cams q_cams query_cameras q_camid",
    "gallery_camids": "g_camids gallery_cams g_cams gallery_cameras g_camid",
    "max_rank": "topk k maxrank ranks",
    "gallery": "test bounding_box_test test_set g",
    "normalize": "metric cosine distance normalized normalise l2_normalize dist_metric",
    "matching": "metric distance config normalize",
}
"""Names of this library, of attributes, methods and arguments, and what people try in their place."""

LINES: dict[str, dict[str, str]] = {
    "partreid": {  # and its packages
        "partreid.PartExtractor.from_pretrained(run)": "featureextractor reidmodel model encoder embedder extractor "
        "reid personreid bodypartreid sentencetransformer automodel pipeline inferencesession predictor load "
        "load_model from_pretrained onnxmodel feature_extractor clip",
        "partreid.PartExtractor.from_pretrained().embed(images)": "embed encode extract embeddings features "
        "extract_features get_features get_embeddings inference predict",
        "partreid.part_distances(a, b)": "compute_distance_matrix compute_distances distance_matrix distances distance "
        "pairwise_distance cdist cosine_similarity cosine_distance cos_sim euclidean_distance "
        "euclidean_squared_distance similarity compute_dist build_dist metrics",
        "partreid.evaluate_ranking(distances, query_pids, gallery_pids, query_camids, gallery_camids)": "evaluate_rank "
        "eval_market1501 eval_cuhk03 eval_func r1_map_eval compute_cmc compute_ap compute_map cmc mean_ap map "
        "mean_average_precision rank1 rank metrics",
        "partreid.evaluate(model, data)": "evaluator test validate score benchmark eval do_inference "
        "inference_on_dataset",
        "partreid.read_dataset(data)": "dataset datasets imagedataset imagedatamanager datamanager load_dataset "
        "load_data get_dataset make_dataloader build_dataset market1501 dukemtmc occluded_duke init_image_dataset",
        'partreid.Gallery("people")': "vectorstore vectordb vector_store index indexflatl2 indexflatip faissindex "
        "collection client persistentclient qdrantclient database db store table connect connect_db lancedb",
        'partreid.Trainer("light", data, run).fit()': "train fit train_model engine imagesoftmaxengine "
        "imagetripletengine defaulttrainer trainingarguments do_train finetune",
        "partreid.Tracklet()": "track tracker strongsort deepsort botsort",
        "partreid.get_preset(name)": "config get_config get_cfg get_cfg_defaults load_config default_config cfg",
        "partreid.build_network(config, identities)": "build_model create_model get_model make_model models",
        "partreid.load_checkpoint(run)": "load_pretrained_weights load_weights load_state_dict resume_from_checkpoint",
        "partreid.merge_tracklet(embeddings)": "average aggregate mean_embedding pool merge fuse",
        "Gallery.search(query, k)": "search query knn nearest_neighbors find semantic_search",
        "partreid.evaluate(model, data, rerank=True)": "rerank re_ranking reranking k_reciprocal",
        "list(partreid.PRESETS)": "list_presets presets available_presets list_configs",
        "partreid.models.BACKBONES.names()": "list_models list_backbones backbones available_models show_avai_models",
        'config.override("objective.gilt.triplet.parts=0.1"); docs/extending.md for one of your own': "giltloss loss "
        "losses tripletloss triplet_loss triplet crossentropyloss centerloss criterion build_loss",
        'partreid.get_preset("light").override(seed=1)': "seed_everything set_seed set_random_seed manual_seed seed",
        "partreid.reports.draw_rankings_of(model, data)": "show_rankings visualize visualize_ranked_results "
        "plot_rankings draw_rankings_of show",
        "partreid.reports.draw_attention_of(model, data)": "visactmap show_attention plot_attention draw_attention_of",
    },
    "Trainer": {".fit()": "train run start launch"},
    "fit": {
        'Trainer(get_preset("light").override("optimizer.epochs=30"), data, run).fit()': "epochs num_epochs max_epoch"
    },
    "PartEmbeddings": {
        "partreid.save_embeddings(path, embeddings)": "save write dump to_file to_disk export to_parquet",
        "partreid.part_distances(a, b)": "compare cosine cosine_similarity dist distance distances dot euclidean "
        "matmul mm pairwise similarities similarity T t",
        'embeddings["legs"], with the name of a slot': "foreground global head arms torso legs feet body",
        '.to("cuda")': "cuda gpu",
        ".to(dtype=torch.float16)": "half float bfloat16 double astype type",
    },
    "PartExtractor": {
        'partreid.export.export_model(run, "model.onnx")': "export to_onnx export_onnx to_openvino compile quantize",
        "partreid.part_distances(a, b)": "compare distance distances similarity similarity_pairwise",
        'PartExtractor.from_pretrained(run, device="cuda")': "to cuda cpu gpu to_device",
        'PartExtractor.from_pretrained(run, precision="float16")': "half float bfloat16",
        ".model, which is in evaluation mode already": "eval train requires_grad_ modules",
        "partreid.read_dataset(data), and partreid.evaluate(model, data)": "evaluate score test validate benchmark",
        "PartExtractor.from_pretrained(run)": "missing model_name model_path path weights checkpoint run folder load "
        "load_model load_pretrained load_weights open from_checkpoint from_exported from_file from_folder from_hub "
        "from_onnx from_run restore create",
        ".embed(images).width": "width dim dims dimension embedding_dim feature_dim output_dim num_features "
        "get_embedding_dimension get_sentence_embedding_dimension",
        "Gallery(extractor=extractor)": "search add index query gallery",
        "len(extractor.slots)": "num_parts num_slots",
    },
    "embed": {
        ".embed(images).numpy()": "convert_to_numpy to_numpy return_numpy numpy",
        "part_distances(a, b, normalize=True)": "normalize normalize_embeddings l2_normalize normalized",
        "PartExtractor.from_pretrained(run, batch_size=64)": "batch_size batchsize bs",
        'PartExtractor.from_pretrained(run, device="cuda")': "device gpu",
        ".embed_boxes(frame, boxes)": "too boxes bboxes xyxy detections dets",
        ".stream(images)": "show_progress_bar progress callback verbose num_workers",
        ".embed(images), whose vectors are tensors": "convert_to_tensor return_tensors",
    },
    "part_distances": {"part_distances(a, b, normalize=True)": "metric cosine distance squared"},
    "MatchingConfig": {"MatchingConfig(normalize=True)": "metric distance cosine"},
    "Hit": {"MatchCalibration.load(run).of_search(result)": "probability probabilities prob confidence proba"},
    "SearchResult": {
        "MatchCalibration.load(run).of_search(result)": "probability probabilities prob confidence proba",
        "result[0]": "hits hit matches results points top best first",
    },
    "Evaluation": {".result, which has .cmc and .rank(k)": "cmc rank rank_k ap average_precision all_cmc"},
    "EvaluationResult": {".rank(k)": "rank_k cmc_at rank2 rank3 rank20 rank50 rank100 recall_at_k recall top5 top10"},
    "Tracklet": {"Tracklet().add(embeddings)": "too embeddings", "merge_tracklet(embeddings)": "too embeddings"},
    "Gallery": {
        "Gallery(location), which is written at every change": "save commit flush persist to_disk write_index",
        "len(gallery)": "size ntotal num_items length total n",
        ".delete(where=Filter())": "clear reset delete_all truncate",
    },
}
"""Lines to type instead, by the class or function that people try a word at."""


def meant(name: str, known: Iterable[str], owner: str = "") -> list[str]:
    """Which of the known names, or which line, was meant by ``name``; none where nothing comes near.

    Args:
        name: what was tried. known: the names that there are. owner: the class or function that has them.

    Example:
        >>> meant("top_k", ["query", "k"]), meant("visibilty", ["vectors", "visibility"])
        (['k'], ['visibility'])
        >>> meant("similarity", ["vectors"], "PartEmbeddings")
        ['partreid.part_distances(a, b)']
    """
    known, tried = list(known), {name, name.strip("_").lower()}
    lines = [line for line, words in LINES.get(owner, {}).items() if tried & {*words.split()}]
    found = [right for right, words in OTHER_WORDS.items() if right in known and tried & {*words.split()}]
    return lines or found or get_close_matches(name, known, n=1, cutoff=0.7)
