"""What ``import lightning as L`` gives in the seed's example, over the wheel ``lightning-app``."""

from lightning_app import LightningApp, LightningFlow, LightningWork

__all__ = ["LightningApp", "LightningFlow", "LightningWork"]
