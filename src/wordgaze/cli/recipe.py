"""``wordgaze recipe``: the settings of published systems."""

from typing import Annotated

import typer

PANEL = "Project"

Name = Annotated[str, typer.Argument(metavar="NAME", help="A recipe of wordgaze recipe list.", show_default=False)]

commands = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(commands, name="recipe", help="Show and use the settings of published systems.", rich_help_panel=PANEL)


@commands.command("list")
def recipe_list() -> None:
    """Print the recipes with their encoder, their data set and the system that they reproduce."""
    from wordgaze.config.recipes import print_recipes

    print_recipes()


@commands.command("show")
def recipe_show(name: Name) -> None:
    """Print a recipe's settings beside the current ones, and the dvc command that runs it."""
    from wordgaze.config.recipes import print_recipe

    print_recipe(name)


@commands.command("use")
def recipe_use(
    name: Name,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting, such as train_stage1.epochs=2; repeat it for more."),
    ] = None,
) -> None:
    """Write a recipe's settings to params.yaml."""
    from wordgaze.config.recipes import use_recipe

    changed = use_recipe(name, change or [])
    typer.echo(f"params.yaml has the settings of {name}; changed: {len(changed)}; next: dvc repro")
