"""Export files for any vendor: transport, proof, formats, types and messages.

Knows neither Firstup nor the SDK.
"""
