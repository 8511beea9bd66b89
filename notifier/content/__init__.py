"""Texts: Liquid templates, compiled once for a campaign, rendered for each user.

The modules in the order of a text's way:

- `texts`: where a campaign's texts are, and which translations are merged for one language.
- `compile`: compiles a text: as a plain template where it only prints attributes, else as Liquid.
- `template`: one compiled text. Texts that only print attributes, or a default where one is missing, are filled in
  here, without Liquid.
- `liquid`: compiles and renders all other texts.
- `liquid_limits`: how much work one rendering may be.
- `liquid_values`: comparisons and numbers, strict where Liquid would guess.
- `liquid_dates`: the filter `date`.
- `liquid_errors`: what the parser refuses, with what to write instead.
- `dialects`: Braze, Pinpoint, Handlebars and Jinja rewritten as Liquid, for the message.
- `template_faults`: what is wrong with a campaign's texts, before anything is sent.
- `web_addresses`: what is wrong with a link, or with the address of an image.
- `languages`: which translation a locale reads.
- `render`: what each recipient reads: the arm's message in the user's language, filled in with the user's attributes.
- `text_checks`, `lookalikes`: the texts held against an audience: attributes that no record has, and placeholders of
  another notation.
"""
