"""Checks of Huawei Ascend NPUs."""
