"""The core of Skylark: decides what should run and makes it so. Knows no Flask and no scheduler."""
