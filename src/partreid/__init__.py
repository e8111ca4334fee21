"""partreid: part-based person re-identification under occlusion (BPBReID, WACV 2023)."""

__version__ = "0.1.0"
