"""The life of a gallery over the years: expiry, erasure, compaction, backup, moved files, and a change of model."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.lifecycle.backup import backup_gallery, restore_gallery, verify_backup
    from partreid.lifecycle.backup_files import BackupFacts
    from partreid.lifecycle.compaction import Compaction, compact_gallery
    from partreid.lifecycle.crop_files import CropFiles, Moved, crops_of, delete_crops, move_files
    from partreid.lifecycle.erasure import Erasure, ErasureReceipt, erase, preview_erasure
    from partreid.lifecycle.reembedding import Reembedded, re_embed
    from partreid.lifecycle.retention import Expiry, expire, preview_expiry

__all__ = [
    "BackupFacts", "Compaction", "CropFiles", "Erasure", "ErasureReceipt", "Expiry", "Moved", "Reembedded",
    "backup_gallery", "compact_gallery", "crops_of", "delete_crops", "erase", "expire", "move_files",
    "preview_erasure", "preview_expiry", "re_embed", "restore_gallery", "verify_backup",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
